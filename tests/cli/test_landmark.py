"""``landmark serve`` against a real service, ``landmark probe`` and ``landmarks check``."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.client import Client
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from ledger.service.keys import write_key
from tests.cli.harness import Program, finish, start
from tests.world import World, seed, signer

WORLD = World()
ENTRIES = [
    {"id": "fra", "operator": "a", "latitude": 50.11, "longitude": 8.68},
    {"id": "ams", "operator": "b", "latitude": 52.37, "longitude": 4.90},
    {"id": "lon", "operator": "c", "latitude": 51.51, "longitude": -0.13},
    {"id": "par", "operator": "d", "latitude": 48.86, "longitude": 2.35},
]


@contextlib.contextmanager
def running(folder: Path, *words: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A process that serves, and the address that it prints."""
    process = start(*words, cwd=folder)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on "), finish(process).err
        yield process, line.split()[2]
    finally:
        process.kill()
        finish(process)


def found(client: Client) -> None:
    """Genesis, parties, chip 1 and the directory, on a simulated ledger."""
    ledger = client.ledger()
    keys = bytes.fromhex(ledger["ledger_key"]), bytes.fromhex(ledger["verifier_key"])
    tokens = [
        WORLD.genesis(*keys),
        *WORLD.parties(),
        WORLD.birth(WORLD.chip(1)),
        WORLD.landmark(),
        WORLD.directory(),
    ]
    results = client.post_statements(tokens)
    assert all(result.accepted for result in results), results
    client.set_clock(client.clock()["now_ms"] + 1_000)  # publishes: births can be read


def test_a_landmark_ranges_with_a_chip_and_its_report_stands_on_the_ledger(
    tmp_path: Path, program: Program
) -> None:
    write_key(tmp_path / "landmark.key", seed("beacon"))
    write_key(tmp_path / "chip.key", seed("chip key 1"))
    chip = WORLD.chip(1)
    serve = ("serve", "--port", "0", "--clock", "simulated", "--access", "open")
    with running(tmp_path, *serve) as (_, url), Client(url) as client:
        client.set_clock(WORLD.now_ms)
        found(client)
        words = ("landmark", "serve", "--landmark", "beacon", "--url", url, "--port", "0")
        with running(tmp_path, *words, "--ready-file", "ready") as (process, address):
            assert (tmp_path / "ready").read_text() == address + "\n"
            probe = (
                "landmark", "probe", address.removeprefix("udp://"), "--landmark", "beacon",
                "--chip", chip.ueid.hex(), "--key", tmp_path / "chip.key", "--url", url,
            )  # fmt: skip
            said = program(*probe, "--json").json
            assert (said["result"], said["probes"]) == ("accepted", 4)
            assert program(*probe).out.startswith("accepted: ")
            stranger = [WORLD.chip(2).ueid.hex() if w == chip.ueid.hex() else w for w in probe]
            refused = program(*stranger)
            assert (refused.code, refused.out) == (1, "refused: chip-unknown\n")
            process.terminate()
            done = finish(process)
            assert done.code == 0, done.err
            assert "Traceback" not in done.err
        client.set_clock(client.clock()["now_ms"] + 1_000)
        kinds = [st.decode(token) for token in client.statements(0) if token is not None]
        (report,) = [message.body for message in kinds if message.kind is Kind.RANGING_REPORT]
        (row,) = report.rows
        assert (row.ueid, report.landmark, report.directory) == (chip.ueid, "beacon", 1)
        assert row.round_trip_us <= said["round_trip_us"]


def directory(folder: Path, entries: object) -> Path:
    path = folder / "directory.json"
    path.write_text(json.dumps({"landmarks": entries}))
    return path


def measured(folder: Path, *rows: tuple[str, str, float]) -> Path:
    path = folder / "measured.jsonl"
    lines = [json.dumps({"from": a, "to": b, "rtt_ms": ms}) for a, b, ms in rows]
    path.write_text("\n".join(lines) + "\n\n")
    return path


HONEST = [("fra", "ams", 7.1), ("fra", "lon", 11.0), ("fra", "par", 9.0), ("ams", "lon", 6.2)]


def test_landmarks_that_can_be_there_are_in_order(program: Program, tmp_path: Path) -> None:
    done = program("landmarks", "check", directory(tmp_path, ENTRIES), measured(tmp_path, *HONEST))
    assert (done.code, done.out) == (0, "4 pairs checked: all possible\n")


def test_a_landmark_that_is_elsewhere_is_to_be_suspended(program: Program, tmp_path: Path) -> None:
    moved = [ENTRIES[0] | {"latitude": -33.87, "longitude": 151.21}, *ENTRIES[1:]]
    words = ("landmarks", "check", directory(tmp_path, moved), measured(tmp_path, *HONEST))
    done = program(*words)
    assert done.code == 1
    assert done.out.startswith("suspend fra: too fast for its place with 3 landmarks of 3 other")
    assert done.out.endswith("4 pairs checked: not all possible\n")
    assert [item["id"] for item in program(*words, "--json").json["suspend"]] == ["fra"]


def test_a_signed_directory_is_read_and_a_single_pair_is_to_be_looked_at(
    program: Program, tmp_path: Path
) -> None:
    rows = [entry | {"addresses": []} for entry in ENTRIES]
    body = st.LandmarkDirectory.model_validate({"iat": WORLD.iat, "version": 1, "landmarks": rows})
    path = tmp_path / "directory.cose"
    path.write_bytes(st.sign(body, signer("authority")))
    done = program("landmarks", "check", path, measured(tmp_path, ("fra", "ams", 0.1)))
    assert done.code == 1
    assert done.out.startswith("look at ams and fra: 3")


@pytest.mark.parametrize(
    ("entries", "rows", "complaint"),
    [
        ([], '{"from": "fra", "to": "ams"}', "measured.jsonl:1: not"),
        (ENTRIES, "x", "measured.jsonl:1: not"),
        (ENTRIES, '{"from": "fra", "to": "ams", "rtt_ms": NaN}', "measured.jsonl:1: not"),
        (ENTRIES, '{"from": "fra", "to": "ams", "rtt_ms": true}', "measured.jsonl:1: not"),
        (ENTRIES, '{"from": "fra", "to": 1, "rtt_ms": 1}', "measured.jsonl:1: not"),
        (ENTRIES, '{"from": "fra", "to": "ams", "rtt_ms": -1}', "not a round trip"),
        (ENTRIES, '{"from": "fra", "to": "moon", "rtt_ms": 1}', "no landmark 'moon'"),
        ([{"id": "fra"}], "", "a landmark's operator"),
        ([ENTRIES[0] | {"latitude": 91}], "", "a landmark's latitude"),
        (3, "", "is no landmark directory"),
    ],
)
def test_input_that_cannot_be_used_is_told_in_one_line(
    program: Program, tmp_path: Path, entries: object, rows: str, complaint: str
) -> None:
    path = measured(tmp_path)
    path.write_text(rows)
    assert complaint in program("landmarks", "check", directory(tmp_path, entries), path).complaint


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"--epoch": "00"}, "16 bytes"),
        ({"--epoch": "x"}, "not hexadecimal"),
        ({"HOST": "here"}, "HOST:PORT"),
        ({"HOST": "here:0"}, "HOST:PORT"),
        ({"--chip": "00"}, "UEID"),
    ],
)
def test_a_probe_that_cannot_be_meant_is_told_so(
    program: Program, tmp_path: Path, changes: dict[str, str], complaint: str
) -> None:
    write_key(tmp_path / "key", seed("key"))
    chip = WORLD.chip(1).ueid.hex()
    options = {"--landmark": "b", "--chip": chip, "--key": str(tmp_path / "key")}
    options |= {"--epoch": bytes(16).hex()} | changes
    address = options.pop("HOST", "127.0.0.1:1")
    words = [word for pair in options.items() for word in pair]
    assert complaint in program("landmark", "probe", address, *words).complaint
