"""Cosignatures of both types: what they sign, what they refuse, and how lines are merged."""

import base64
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ConfigurationError, Reason, Refused
from ledger.log.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from ledger.log.cosignature import (
    ED25519_COSIGNATURE,
    MLDSA44_COSIGNATURE,
    CosignatureVerifier,
    Cosigner,
    MlDsa44Key,
    add_signatures,
    note_verifier,
    parse_vkey,
    require_covered,
    split_timestamp,
    subtree_message,
    v1_message,
)
from ledger.log.merkle import EMPTY_ROOT
from ledger.log.note import MAX_SIGNATURES, NoteSignature, NoteSigner, open_note, parse_note
from ledger.log.vkey import ED25519, Vkey
from tests.log.keys import Raw, TestKey

ORIGIN = "example.com/behind-the-sofa"
CHECKPOINT = Checkpoint(ORIGIN, 20852163, bytes(range(32)))
TEXT = CHECKPOINT.encode()
TIME = 1679315147
LOG = NoteSigner(ORIGIN, TestKey(1))
ED = Cosigner("witness.example/ed", TestKey(2))
ML = Cosigner("witness.example/ml", MlDsa44Key.from_seed(bytes(32)))
BOTH = pytest.mark.parametrize("cosigner", [ED, ML], ids=["ed25519", "ml-dsa-44"])


def verifies(cosigner: Cosigner, text: bytes, signature: bytes) -> bool:
    return CosignatureVerifier(cosigner.vkey.encode()).verify(text, signature)


def refused(call: Callable[[], object]) -> Reason:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.reason


def test_ed25519_signs_header_time_and_whole_text() -> None:
    text = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert v1_message(text, 1679315147) == b"cosignature/v1\ntime 1679315147\n" + text
    line = ED.cosign(TEXT, TIME)
    assert line.signature == TIME.to_bytes(8) + TestKey(2).sign(v1_message(TEXT, TIME))


def test_ml_dsa_44_signs_name_time_origin_range_and_root_in_the_fixed_order() -> None:
    message = subtree_message("w", 3, "log", 0, 5, b"r" * 32)
    assert (
        message.hex()
        == (
            "737562747265652f76310a00"  # "subtree/v1", newline, NUL
            "0177" + "0000000000000003" + "036c6f67" + "0000000000000000" + "0000000000000005"
        )
        + "72" * 32
    )


def test_line_of_the_specification_has_this_shape() -> None:
    """The published example: its key is not published, so only the form can be compared."""
    blob = base64.b64decode(
        "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZ"
        "qhf5nNo0xUe+mbIUBkBIfZ+qnA=="
    )
    timestamp, bare = split_timestamp(blob[4:])
    assert (timestamp, len(bare)) == (1679315147, 64)


@BOTH
def test_cosignature_verifies_inside_the_note(cosigner: Cosigner) -> None:
    note = sign_checkpoint(CHECKPOINT, [LOG, cosigner.at(TIME)])
    keys = [note_verifier(LOG.vkey), note_verifier(cosigner.vkey)]
    checkpoint, lines = open_checkpoint(note, ORIGIN, keys)
    assert checkpoint == CHECKPOINT
    assert [split_timestamp(line.signature)[0] for line in lines[1:]] == [TIME]


def test_key_ids_and_sizes_are_those_of_the_types() -> None:
    assert (ED.vkey.signature_type, ML.vkey.signature_type) == (0x04, 0x06)
    assert len(ED.cosign(TEXT, TIME).signature) == 72
    assert len(ML.cosign(TEXT, TIME).signature) == 2428
    # The type is part of the key id: the same key as a plain note key has another one.
    plain = Vkey(ED.vkey.name, ED25519, ED.vkey.public_key)
    assert plain.key_id != ED.vkey.key_id


def test_keys_that_others_published_have_the_key_ids_that_they_gave_them() -> None:
    """A witness in use (0x04), and a log key of litewitness's tests made from its seed (0x06)."""
    text = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
    assert CosignatureVerifier(text).key_id.hex() == "da77ade7"
    seed = "2886adc2b0eabfce67c0472939127998bf886cf256bfee8ba76a253fce1146e0"
    log = Cosigner("example.com/mldsa-log", MlDsa44Key.from_seed(bytes.fromhex(seed)))
    assert log.vkey.key_id.hex() == "b5df45c5"


@BOTH
@pytest.mark.parametrize("time", [0, 2**63 - 1])
def test_time_at_the_limits_is_accepted(cosigner: Cosigner, time: int) -> None:
    assert verifies(cosigner, TEXT, cosigner.cosign(TEXT, time).signature)


@BOTH
@pytest.mark.parametrize("time", [-1, 2**63])
def test_time_outside_the_limits_is_not_signed(cosigner: Cosigner, time: int) -> None:
    assert refused(lambda: cosigner.cosign(TEXT, time)) is Reason.NOTE_MALFORMED


def test_time_above_the_limit_is_refused_even_if_signed() -> None:
    bare = TestKey(2).sign(v1_message(TEXT, 2**63))
    assert not verifies(ED, TEXT, (2**63).to_bytes(8) + bare)


@BOTH
def test_other_checkpoint_time_key_or_length_does_not_verify(cosigner: Cosigner) -> None:
    signature = cosigner.cosign(TEXT, TIME).signature
    assert verifies(cosigner, TEXT, signature)
    for other in (
        Checkpoint(ORIGIN, 20852164, CHECKPOINT.root),
        Checkpoint(ORIGIN + "2", CHECKPOINT.size, CHECKPOINT.root),
        Checkpoint(ORIGIN, CHECKPOINT.size, bytes(32)),
    ):
        assert not verifies(cosigner, other.encode(), signature)
    for wrong in (
        (TIME + 1).to_bytes(8) + signature[8:],
        signature[:-1],
        signature + b"\0",
        signature[:8],
        b"",
        signature[8:],
    ):
        assert not verifies(cosigner, TEXT, wrong)
    stranger = Cosigner("s", TestKey(9))
    assert not verifies(stranger, TEXT, signature)


def test_ml_dsa_44_commits_to_the_name_and_ed25519_does_not() -> None:
    alias = Cosigner("alias", MlDsa44Key.from_seed(bytes(32)))
    assert not verifies(alias, TEXT, ML.cosign(TEXT, TIME).signature)
    assert verifies(Cosigner("alias", TestKey(2)), TEXT, ED.cosign(TEXT, TIME).signature)


def test_extension_lines_are_covered_by_ed25519_only() -> None:
    more = Checkpoint(ORIGIN, CHECKPOINT.size, CHECKPOINT.root, ("extension",)).encode()
    assert not verifies(ED, more, ED.cosign(TEXT, TIME).signature)
    assert verifies(ML, more, ML.cosign(TEXT, TIME).signature)


def test_extension_lines_that_no_log_signature_covers_are_refused() -> None:
    more = Checkpoint(ORIGIN, CHECKPOINT.size, CHECKPOINT.root, ("extension",))
    require_covered(CHECKPOINT, [ML.vkey])
    require_covered(more, [ML.vkey, LOG.vkey])
    assert refused(lambda: require_covered(more, [ML.vkey])) is Reason.SIGNATURE_INVALID


@BOTH
@pytest.mark.parametrize("text", [b"", b"just a note\n", b"o\n01\n" + b"A" * 44 + b"\n"])
def test_text_that_is_no_checkpoint_is_neither_signed_nor_verified(
    cosigner: Cosigner, text: bytes
) -> None:
    assert refused(lambda: cosigner.cosign(text, TIME)) is Reason.NOTE_MALFORMED
    assert not verifies(cosigner, text, bytes(72))


@BOTH
def test_empty_tree_can_be_cosigned(cosigner: Cosigner) -> None:
    text = Checkpoint(ORIGIN, 0, EMPTY_ROOT).encode()
    assert verifies(cosigner, text, cosigner.cosign(text, TIME).signature)


def test_names_and_origins_too_long_for_ml_dsa_44_are_refused() -> None:
    key = MlDsa44Key.from_seed(bytes(32))
    Cosigner("é" * 127, key)
    assert refused(lambda: Cosigner("é" * 128, key)) is Reason.NOTE_MALFORMED
    text = Checkpoint("o" * 256, 1, bytes(32)).encode()
    assert refused(lambda: ML.cosign(text, TIME)) is Reason.NOTE_MALFORMED
    assert not verifies(ML, text, bytes(2428))


@pytest.mark.parametrize(
    "vkey",
    [
        Vkey("w", ED25519, TestKey(1).public.raw),
        Vkey("w", 0x05, TestKey(1).public.raw),
        Vkey("w", ED25519_COSIGNATURE, bytes(32)),
        Vkey("w", ED25519_COSIGNATURE, bytes([1, *bytes(31)])),
        Vkey("w", ED25519_COSIGNATURE, bytes(31)),
        Vkey("w", MLDSA44_COSIGNATURE, bytes(1311)),
        Vkey("w", MLDSA44_COSIGNATURE, bytes(1313)),
        Vkey("w", MLDSA44_COSIGNATURE, TestKey(1).public.raw),
    ],
)
def test_key_of_another_type_or_size_or_of_small_order_is_refused(vkey: Vkey) -> None:
    assert refused(lambda: CosignatureVerifier(vkey)) is Reason.KEY_INVALID


def test_signing_key_of_another_size_is_refused() -> None:
    key = TestKey(1)
    key.public = Raw(bytes(33))
    assert refused(lambda: Cosigner("w", key)) is Reason.KEY_INVALID


def test_ml_dsa_key_is_read_from_pem_and_other_kinds_are_refused() -> None:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import mldsa

    from ledger.protocol.keys import Ed25519Signer

    private = mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    pem = private.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    assert MlDsa44Key.from_pem(pem).public.raw == ML.vkey.public_key
    for other in (Ed25519Signer.from_seed(bytes(32)).to_pem(), b"no key"):
        with pytest.raises(ConfigurationError):
            MlDsa44Key.from_pem(other)


@BOTH
def test_repr_shows_name_and_key_id_only(cosigner: Cosigner) -> None:
    shown = f"{cosigner.vkey.name}+{cosigner.vkey.key_id.hex()}"
    assert repr(cosigner) == f"Cosigner({shown})"
    assert repr(CosignatureVerifier(cosigner.vkey)) == f"CosignatureVerifier({shown})"


def test_added_lines_take_the_place_of_older_ones_by_the_same_key() -> None:
    note = sign_checkpoint(CHECKPOINT, [LOG, ED.at(TIME)])
    merged = add_signatures(note, [ED.cosign(TEXT, TIME + 9), ML.cosign(TEXT, TIME)])
    names = [line.name for line in parse_note(merged).signatures]
    assert names == [LOG.vkey.name, ED.vkey.name, ML.vkey.name]
    keys = [note_verifier(vkey) for vkey in (LOG.vkey, ED.vkey, ML.vkey)]
    times = [split_timestamp(line.signature)[0] for line in open_note(merged, keys)[1][1:]]
    assert times == [TIME + 9, TIME]


def test_more_lines_than_a_note_has_are_refused() -> None:
    note = sign_checkpoint(CHECKPOINT, [LOG])
    lines = [NoteSignature(f"w{n}", bytes(4), bytes(9)) for n in range(MAX_SIGNATURES)]
    add_signatures(note, lines[1:])
    assert refused(lambda: add_signatures(note, lines)) is Reason.NOTE_MALFORMED


VKEYS = [LOG.vkey.encode(), ED.vkey.encode(), ML.vkey.encode()]


@pytest.mark.parametrize("text", VKEYS)
def test_key_of_any_type_reads_back(text: str) -> None:
    assert parse_vkey(text).encode() == text


@given(st.sampled_from(VKEYS), st.text(max_size=40), st.data())
def test_fuzzed_key_is_refused_or_formats_back(
    text: str, inserted: str, data: st.DataObject
) -> None:
    begin, end = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))
    for candidate in (inserted, text[:begin] + inserted + text[end:], text * 2):
        try:
            vkey = parse_vkey(candidate)
        except Refused:
            continue
        assert vkey.encode() == candidate


@given(st.sampled_from([ED, ML]), st.binary(max_size=80), st.data())
def test_fuzzed_cosignature_verifies_only_unchanged(
    cosigner: Cosigner, inserted: bytes, data: st.DataObject
) -> None:
    good = SIGNATURES[cosigner.vkey.name]
    begin, end = data.draw(st.integers(0, len(good))), data.draw(st.integers(0, len(good)))
    candidate = good[:begin] + inserted + good[end:]
    assert verifies(cosigner, TEXT, candidate) == (candidate == good)


SIGNATURES = {c.vkey.name: c.cosign(TEXT, TIME).signature for c in (ED, ML)}
