"""Checkpoints: strict text, both ways, and opening them by origin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import Reason, Refused
from ledger.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.log.merkle import EMPTY_ROOT, MAX_SIZE
from ledger.log.note import NoteSigner, NoteVerifier, sign_note
from tests.log.keys import TestKey

ORIGIN = "ledger.example/log"
SIGNER = NoteSigner(ORIGIN, TestKey(1))
VERIFIER = NoteVerifier(SIGNER.vkey)
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
TEXT = f"{ORIGIN}\n20852163\n{ROOT}\n".encode()


def test_text_decodes_and_encodes_back() -> None:
    checkpoint = Checkpoint.decode(TEXT)
    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, 20_852_163)
    assert checkpoint.root.hex().startswith("0ac5186a91863e8e")
    assert checkpoint.encode() == TEXT


lines = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(
    lines,
    st.integers(1, MAX_SIZE - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(lines, max_size=3),
)
def test_every_checkpoint_decodes_back(
    origin: str, size: int, root: bytes, extensions: list[str]
) -> None:
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert Checkpoint.decode(checkpoint.encode()) == checkpoint


def test_empty_tree_has_size_zero_and_the_empty_root() -> None:
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert Checkpoint.decode(empty.encode()) == empty
    with pytest.raises(Refused):
        Checkpoint(ORIGIN, 0, bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(f"{ORIGIN}\n1\n", id="two lines"),
        pytest.param(f"{ORIGIN}\n1\n{ROOT}", id="no final newline"),
        pytest.param(f"{ORIGIN}\n1\n{ROOT}\ncut", id="no final newline after an extension"),
        pytest.param(f"\n1\n{ROOT}\n", id="empty origin"),
        pytest.param(f"{ORIGIN}\n01\n{ROOT}\n", id="leading zero"),
        pytest.param(f"{ORIGIN}\n+1\n{ROOT}\n", id="plus sign"),
        pytest.param(f"{ORIGIN}\n-1\n{ROOT}\n", id="negative"),
        pytest.param(f"{ORIGIN}\n 1\n{ROOT}\n", id="space"),
        pytest.param(f"{ORIGIN}\n1_0\n{ROOT}\n", id="underscore"),
        pytest.param(f"{ORIGIN}\n١\n{ROOT}\n", id="other digits"),
        pytest.param(f"{ORIGIN}\n\n{ROOT}\n", id="no size"),
        pytest.param(f"{ORIGIN}\n{MAX_SIZE}\n{ROOT}\n", id="size 2**63"),
        pytest.param(f"{ORIGIN}\n{'9' * 5000}\n{ROOT}\n", id="huge size"),
        pytest.param(f"{ORIGIN}\n1\n{ROOT[:-1]}\n", id="no padding"),
        pytest.param(f"{ORIGIN}\n1\n{ROOT.replace('2I=', '2J=')}\n", id="stray bits"),
        pytest.param(f"{ORIGIN}\n1\nAAAA\n", id="short root"),
        pytest.param(f"{ORIGIN}\n1\n{ROOT}\n\n", id="empty extension"),
        pytest.param(f"{ORIGIN}\n1\n{ROOT}\nextension\n\nextension\n", id="gap in extensions"),
        pytest.param(f"{ORIGIN}\r\n1\r\n{ROOT}\r\n", id="carriage returns"),
        pytest.param(f"{ORIGIN}\n0\n{ROOT}\n", id="root of an empty tree"),
    ],
)
def test_malformed_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        Checkpoint.decode(text.encode())
    assert caught.value.reason is Reason.NOTE_MALFORMED


@pytest.mark.parametrize(
    ("origin", "size", "extensions"),
    [
        ("", 1, ()),
        ("a\nb", 1, ()),
        ("\ud800", 1, ()),
        (ORIGIN, -1, ()),
        (ORIGIN, True, ()),
        (ORIGIN, MAX_SIZE, ()),
        (ORIGIN, 1, ("",)),
        (ORIGIN, 1, ("a\n1",)),
    ],
)
def test_checkpoint_that_would_not_decode_back_is_not_made(
    origin: str, size: int, extensions: tuple[str, ...]
) -> None:
    with pytest.raises(Refused):
        Checkpoint(origin, size, bytes(32), extensions)


def test_signed_checkpoint_opens_for_its_origin_only() -> None:
    checkpoint = Checkpoint.decode(TEXT)
    data = sign_checkpoint(checkpoint, [SIGNER])
    opened, signatures = open_checkpoint(data, ORIGIN, [VERIFIER])
    assert opened == checkpoint
    assert [signature.name for signature in signatures] == [ORIGIN]
    with pytest.raises(Refused) as caught:
        open_checkpoint(data, "other.example/log", [VERIFIER])
    assert caught.value.field == "origin"


def test_signed_note_that_is_no_checkpoint_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        open_checkpoint(sign_note(b"hello\n", [SIGNER]), ORIGIN, [VERIFIER])
    assert caught.value.reason is Reason.NOTE_MALFORMED


@given(st.binary(max_size=60), st.integers(0, len(TEXT)), st.integers(0, len(TEXT)))
def test_fuzzed_checkpoint_is_refused_or_encodes_back(
    inserted: bytes, begin: int, end: int
) -> None:
    for text in (inserted, TEXT[:begin] + inserted + TEXT[end:]):
        try:
            checkpoint = Checkpoint.decode(text)
        except Refused:
            continue
        assert checkpoint.encode() == text
