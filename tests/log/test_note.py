"""Signed notes and note keys: published example, rules with both sides, fuzzing."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ConfigurationError, Reason, Refused
from ledger.log import note
from ledger.log.note import NoteSignature, NoteSigner, NoteVerifier, open_note, sign_note
from ledger.log.vkey import ED25519, Vkey, decode_base64, key_id
from tests.log.keys import Raw, TestKey
from tests.vectors import vectors_dir

TEXT = b"If you think cryptography is the answer,\n\nask again.\n"
ALICE = NoteSigner("example.org/alice", TestKey(1))
BOB = NoteSigner("bøb", TestKey(2))
MALLORY = NoteSigner("example.org/alice", TestKey(3))
SIGNED = sign_note(TEXT, [ALICE, BOB])


def verifier(signer: NoteSigner) -> NoteVerifier:
    return NoteVerifier(signer.vkey.encode())


def refused_with(reason: Reason, data: bytes, *signers: NoteSigner) -> None:
    with pytest.raises(Refused) as caught:
        open_note(data, [verifier(signer) for signer in signers or (ALICE, BOB)])
    assert caught.value.reason is reason


def test_published_example_verifies_and_any_other_text_does_not() -> None:
    example = json.loads((vectors_dir() / "c2sp-spec-examples" / "signed-note.json").read_text())
    data = example["note"].encode()
    text, signatures = open_note(data, [NoteVerifier(example["vkey"])])
    assert text == b"This is an example message.\n"
    assert [signature.name for signature in signatures] == ["example.com/foo"]
    assert Vkey.parse(example["vkey"]).encode() == example["vkey"]
    with pytest.raises(Refused) as caught:
        open_note(data.replace(b"message", b"massage"), [NoteVerifier(example["vkey"])])
    assert caught.value.reason is Reason.SIGNATURE_INVALID


def test_note_returns_text_with_blank_line_and_both_signers_in_order() -> None:
    text, signatures = open_note(SIGNED, [verifier(BOB), verifier(ALICE)])
    assert text == TEXT
    assert [signature.name for signature in signatures] == ["example.org/alice", "bøb"]


def test_signature_of_unknown_key_is_ignored() -> None:
    data = sign_note(TEXT, [MALLORY, ALICE, BOB])
    _, signatures = open_note(data, [verifier(ALICE)])
    assert [signature.key_id for signature in signatures] == [ALICE.vkey.key_id]


def test_note_without_a_known_key_is_refused() -> None:
    refused_with(Reason.SIGNATURE_INVALID, SIGNED, MALLORY)
    with pytest.raises(Refused):
        open_note(SIGNED, [])


def test_one_bad_signature_of_a_known_key_refuses_the_whole_note() -> None:
    forged = NoteSignature(BOB.vkey.name, BOB.vkey.key_id, bytes(64)).line().encode()
    data = sign_note(TEXT, [ALICE]) + forged
    open_note(data, [verifier(ALICE)])
    refused_with(Reason.SIGNATURE_INVALID, data)


def test_signature_under_a_colliding_key_id_is_refused() -> None:
    """Key ids have four bytes: an attacker finds a key that shares one, but cannot sign."""
    stolen = NoteSignature(ALICE.vkey.name, ALICE.vkey.key_id, MALLORY.sign(TEXT).signature)
    refused_with(Reason.SIGNATURE_INVALID, TEXT + b"\n" + stolen.line().encode(), ALICE)


def test_key_that_signed_twice_counts_once_and_both_must_verify() -> None:
    _, signatures = open_note(sign_note(TEXT, [ALICE, ALICE]), [verifier(ALICE)])
    assert len(signatures) == 1
    second = NoteSignature(ALICE.vkey.name, ALICE.vkey.key_id, bytes(64)).line().encode()
    refused_with(Reason.SIGNATURE_INVALID, sign_note(TEXT, [ALICE]) + second)


def test_two_verifiers_with_one_identity_are_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        open_note(SIGNED, [verifier(ALICE), verifier(ALICE)])


@pytest.mark.parametrize("length", [0, 1, 63, 65])
def test_signature_of_wrong_length_is_refused(length: int) -> None:
    line = NoteSignature(ALICE.vkey.name, ALICE.vkey.key_id, bytes(length)).line().encode()
    reason = Reason.SIGNATURE_INVALID if length else Reason.NOTE_MALFORMED
    refused_with(reason, TEXT + b"\n" + line)


LINE = ALICE.sign(TEXT).line().encode()
DASH = "— ".encode()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(TEXT, id="no signature"),
        pytest.param(TEXT + b"\n", id="no line after the blank one"),
        pytest.param(LINE, id="no text"),
        pytest.param(b"\n" + LINE, id="no text but a blank line"),
        pytest.param(b"text\n" + LINE, id="no blank line"),
        pytest.param(TEXT + b"\n" + LINE[:-1], id="no final newline"),
        pytest.param(TEXT + b"\n" + LINE + LINE[:-1], id="no final newline after two lines"),
        pytest.param(TEXT + b"\n" + LINE + b"\n", id="blank line at the end"),
        pytest.param(TEXT + b"\n" + LINE + b"more\n", id="other line at the end"),
        pytest.param(TEXT + b"\n" + LINE.replace(DASH, b"- "), id="hyphen"),
        pytest.param(TEXT + b"\n" + LINE.replace(DASH, "– ".encode()), id="en dash"),
        pytest.param(TEXT + b"\n" + LINE.replace(DASH, DASH.strip()), id="no space"),
        pytest.param(TEXT + b"\n" + LINE.replace(DASH, DASH + b" "), id="two spaces"),
        pytest.param(TEXT + b"\n" + LINE.replace(b"org/", b"org+"), id="plus in name"),
        pytest.param(TEXT + b"\n" + LINE.replace(b"org/", b"org "), id="space in name"),
        pytest.param(TEXT + b"\n" + LINE.replace(b"/", "\u00a0".encode(), 1), id="hard space"),
        pytest.param(TEXT + b"\n" + LINE.replace(b"/", "\u2028".encode(), 1), id="separator"),
        pytest.param(TEXT + b"\n" + LINE.replace(b"=\n", b"\n"), id="no padding"),
        pytest.param(TEXT + b"\n" + LINE.replace(b"=\n", b"=\r\n"), id="carriage return"),
        pytest.param(TEXT + b"\n" + DASH + b"name \n", id="no base64"),
        pytest.param(TEXT + b"\n" + DASH + b"name AAAAAA==\n", id="key id alone"),
        pytest.param(TEXT + b"\n" + DASH + b"name AAAAAAE=\n" * 2, id="line without dash"),
        pytest.param(TEXT + b"\n" + DASH + b"name AAAAAAF=\n", id="stray bits in base64"),
        pytest.param(TEXT + b"\n" + DASH + b"name AAAA_AE=\n", id="URL alphabet"),
        pytest.param(b"tab\there\n\n" + LINE, id="tab in text"),
        pytest.param(b"nul\x00\n\n" + LINE, id="nul in text"),
        pytest.param(b"\xff\n\n" + LINE, id="text not UTF-8"),
        pytest.param("\ud800\n".encode("utf-8", "surrogatepass") + b"\n" + LINE, id="surrogate"),
        pytest.param(TEXT + b"\n" + LINE * (note.MAX_SIGNATURES + 1), id="too many signatures"),
    ],
)
def test_malformed_note_is_refused(data: bytes) -> None:
    refused_with(Reason.NOTE_MALFORMED, data)


def test_sixteen_signatures_of_five_kilobytes_are_accepted() -> None:
    """The least that the standard asks of a verifier, in the size of post-quantum signatures."""
    others = b"".join(
        NoteSignature(f"witness{n}", bytes(4), bytes(5000)).line().encode() for n in range(16)
    )
    open_note(sign_note(TEXT, [ALICE]) + others, [verifier(ALICE)])


def test_note_above_the_size_limit_is_refused() -> None:
    refused_with(Reason.TOO_LARGE, b"a" * note.MAX_NOTE_SIZE + b"\n\n" + LINE)


@pytest.mark.parametrize("text", [b"", b"no newline", b"a\rb\n", b"\xc3\n"])
def test_signer_does_not_sign_what_is_no_note_text(text: bytes) -> None:
    with pytest.raises(Refused) as caught:
        sign_note(text, [ALICE])
    assert caught.value.reason is Reason.NOTE_MALFORMED


def test_note_without_signers_is_refused() -> None:
    with pytest.raises(Refused):
        sign_note(TEXT, [])


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\tb", "a\nb", "a\u3000b", "\ud800", "a" * 256]
)
def test_key_name_that_no_line_can_carry_is_refused(name: str) -> None:
    with pytest.raises(Refused):
        NoteSigner(name, TestKey(1))


SMALL_ORDER = bytes([1, *bytes(31)])
NOT_CANONICAL = bytes([0xEE, *[0xFF] * 30, 0x7F])


@pytest.mark.parametrize("raw", [SMALL_ORDER, NOT_CANONICAL, bytes(32), bytes(31), bytes(96)])
def test_key_that_is_no_ed25519_point_of_prime_order_is_refused(raw: bytes) -> None:
    class Key(TestKey):
        def __init__(self) -> None:
            super().__init__(1)
            self.public = Raw(raw)

    for call in (
        lambda: NoteVerifier(Vkey("name", ED25519, raw)),
        lambda: NoteVerifier(Vkey("name", ED25519, raw).encode()),
        lambda: NoteSigner("name", Key()),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.reason is Reason.KEY_INVALID


def test_note_key_of_another_signature_type_parses_but_has_no_verifier_here() -> None:
    text = Vkey("witness", 0x04, TestKey(1).public.raw).encode()
    assert Vkey.parse(text).signature_type == 0x04
    with pytest.raises(Refused):
        NoteVerifier(text)


VKEY = ALICE.vkey.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        "name+00000000+",
        VKEY.replace("alice", "alicf"),
        VKEY.replace("+", "+0", 1),
        VKEY + "=",
        VKEY[:-1],
        VKEY + "\n",
        " " + VKEY,
        VKEY.replace("example", "exam ple"),
        "\ud800" + VKEY,
        "name+é+é",
        "a" * 600,
    ],
)
def test_malformed_note_key_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        Vkey.parse(text)
    assert caught.value.reason is Reason.KEY_INVALID


def test_note_key_with_upper_case_key_id_is_refused() -> None:
    name, _, rest = VKEY.partition("+")
    identity, _, blob = rest.partition("+")
    assert Vkey.parse(f"{name}+{identity}+{blob}").key_id.hex() == identity
    with pytest.raises(Refused):
        Vkey.parse(f"{name}+{identity.upper()}+{blob}")


def test_key_id_is_the_head_of_the_hash_that_the_standard_names() -> None:
    blob = base64.b64decode("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    assert key_id("example.com/foo", blob[1:]).hex() == "530d903a"


def test_reprs_show_no_secret() -> None:
    assert TestKey(1).seed.hex() not in repr(ALICE)
    assert VKEY in repr(ALICE)
    assert VKEY in repr(verifier(ALICE))


@given(st.binary(max_size=60), st.integers(0, len(SIGNED)), st.integers(0, len(SIGNED)))
def test_fuzzed_note_is_refused_or_opens_to_what_was_signed(
    inserted: bytes, begin: int, end: int
) -> None:
    for data in (inserted, SIGNED[:begin] + inserted + SIGNED[end:]):
        try:
            text, _ = open_note(data, [verifier(ALICE), verifier(BOB)])
        except Refused:
            continue
        assert text == TEXT


@given(st.text(max_size=60), st.integers(0, len(VKEY)), st.integers(0, len(VKEY)))
def test_fuzzed_note_key_is_refused_or_formats_back(inserted: str, begin: int, end: int) -> None:
    for text in (inserted, VKEY[:begin] + inserted + VKEY[end:]):
        try:
            parsed = Vkey.parse(text)
        except Refused:
            continue
        assert parsed.encode() == text


@given(st.text(max_size=12))
def test_fuzzed_base64_is_refused_or_encodes_back(text: str) -> None:
    try:
        data = decode_base64(text)
    except ValueError:
        return
    assert base64.b64encode(data).decode() == text
