"""The page on ranging says what the code does: limits, and the example session to the byte."""

import re
from pathlib import Path

from ledger.errors import Reason
from ledger.protocol import cbor, landmarks, ranging
from ledger.protocol.keys import Ed25519Signer
from ledger.protocol.landmarks import RangingRow
from ledger.protocol.ranging import Challenge, Opening, Prover, Result, Session, decode, encode
from ledger.protocol.ranging_rows import MAX_PROOF_BYTES, make_report, row_hash

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ranging.md").read_text(encoding="utf-8")
KEY = Ed25519Signer.from_seed(bytes(range(32)))
LANDMARK_KEY = Ed25519Signer.from_seed(bytes(range(32, 64)))
UEID = b"\x01" + bytes(range(16))
SESSION, EPOCH = bytes(range(0x10, 0x20)), bytes(range(16))
SECRET, NONCE = bytes(range(0x20, 0x30)), bytes(range(0x40, 0x50))


def session() -> list[tuple[str, bytes]]:
    """One session of one probe: the name of each datagram, and its bytes."""
    chip = Prover(UEID, EPOCH, "beacon", SESSION, [SECRET])
    begun = chip.commit(0)
    first = decode(begun)
    assert isinstance(first, ranging.Commit)
    landmark = Session("beacon", first, 0)
    challenge = landmark.challenge(first, NONCE, 0)
    asked = decode(challenge)
    assert isinstance(asked, Challenge)
    reply = chip.answer(asked)
    answered = decode(reply)
    assert isinstance(answered, ranging.Reply)
    landmark.reply(answered, 8_123_400)
    opened = chip.open(KEY)
    opening = decode(opened)
    assert isinstance(opening, Opening)
    measured = landmark.open(opening, lambda _: KEY.public, 9_000_000)
    result = Result(SESSION, ranging.ACCEPTED, measured.round_trip_us, measured.probes)
    return [
        ("commit", begun),
        ("challenge", challenge),
        ("reply", reply),
        ("opening", opened),
        ("result", encode(result)),
    ]


def lines() -> str:
    """The example as the page has it."""
    return "\n".join(f"{name:<10}{data.hex()}" for name, data in session())


def test_the_example_session_is_that_of_the_code():
    assert lines() in PAGE
    commit = decode(session()[0][1])
    assert isinstance(commit, ranging.Commit)
    assert commit.commitment.hex() in PAGE


def test_nonce_and_answer_stand_last_in_their_datagrams():
    """So nothing of a reply can be sent before the whole nonce is there, but its head."""
    _, (_, challenge), (_, reply), *_ = session()
    assert challenge.endswith(NONCE)
    assert reply.endswith(ranging.xor(NONCE, SECRET))


def test_the_limits_are_those_of_the_code():
    table = dict(re.findall(r"^\| ([^|]+?) \| ([\d,]+) [^|]*\|$", PAGE, re.MULTILINE))
    assert {name: int(value.replace(",", "")) for name, value in table.items()} == {
        "probes in a session": ranging.MAX_PROBES,
        "datagram": ranging.MAX_DATAGRAM,
        "reply": ranging.MAX_ROUND_TRIP_US // 1_000,
        "opening": ranging.MAX_OPENING_NS // 1_000_000_000,
        "clock": ranging.CLOCK_ERROR_PPM,
        "rows in a report": landmarks.MAX_ROWS,
        "row proof": MAX_PROOF_BYTES,
    }


def test_labels_and_media_type_are_those_of_the_code():
    for text in ("chip-passport ranging commitment v1", ranging.TYP):
        assert f'"{text}"' in PAGE
    assert encode(Result(SESSION, "x"))[:1] == b"\x85"
    row = RangingRow(ueid=UEID, round_trip_us=1, probes=1, transcript=bytes(32))
    report = make_report(0, "beacon", EPOCH, 1, [row], LANDMARK_KEY)
    assert report.root == row_hash(row)
    assert cbor.encode(["chip-passport ranging rows v1"])[1:].hex() in (
        cbor.encode(["chip-passport ranging rows v1", "beacon"]).hex()
    )
    assert '"chip-passport ranging rows v1"' in PAGE


def test_every_reason_of_ranging_is_named():
    for reason in Reason:
        if reason.value.startswith(("ranging-", "landmark-", "directory-")):
            assert f"`{reason.value}`" in PAGE
