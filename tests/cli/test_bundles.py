"""``bundle`` and ``verify``: a file that proves itself, and what is said when it does not."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from api.client import Client
from api.embedded import ServerThread
from api.settings import ServiceSettings
from ledger.bundle.format import Bundle
from ledger.log.trust import TrustedLog, TrustPolicy
from ledger.log.vkey import ED25519, Vkey
from ledger.protocol.keys import PublicKey
from ledger.service.node import Node, NodeSettings
from tests.cli.harness import Program, Story
from tests.service.harness import found, open_node

ABSENT = "01" + "77" * 16


@pytest.fixture
def trust(story: Story, tmp_path: Path) -> Path:
    """A policy that trusts the story's ledger."""
    path = tmp_path / "trust.policy"
    path.write_bytes(policy(story.database))
    return path


def policy(database: Path) -> bytes:
    """The ledger's key is the one that its genesis names."""
    node = Node.open(NodeSettings(database=str(database), read_only=True))
    status = node.status()
    node.close()
    assert status.origin is not None
    key = PublicKey.from_cose_key(status.ledger_key).raw
    return TrustPolicy((TrustedLog(Vkey(status.origin, ED25519, key)),), (), (), None).encode()


@pytest.fixture
def made(program: Program, story: Story, tmp_path: Path) -> Path:
    """The diverted chip's bundle."""
    path = tmp_path / "chip.bundle"
    done = program("bundle", story.diverted, "-o", path, "--database", story.database)
    assert done.code == 0, done.err
    return path


def test_bundle_is_verified_with_a_policy(program: Program, made: Path, trust: Path) -> None:
    done = program("verify", made, "--trust", trust)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("VERIFIED: genuine, complete, and vouched for\n")
    for words in ("all that the chip has among the", "none is missing", "born as", "HOLD"):
        assert words in done.out


def test_without_a_policy_nobody_vouches_and_the_exit_is_1(program: Program, made: Path) -> None:
    done = program("verify", made)
    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("NOBODY VOUCHES: nothing is wrong")
    assert "no trust policy was given" in done.out


def test_policy_of_another_log_is_not_met(program: Program, made: Path, tmp_path: Path) -> None:
    stage = found(open_node(tmp_path))
    vkey = stage.node.status().vkey
    stage.node.close()
    assert vkey is not None
    other = Vkey.parse(vkey)
    wrong = TrustPolicy(
        (TrustedLog(Vkey("other.example/log", other.signature_type, other.public_key)),),
        (),
        (),
        None,
    )
    (tmp_path / "wrong.policy").write_bytes(wrong.encode())
    done = program("verify", made, "--trust", tmp_path / "wrong.policy")
    assert done.code == 1
    assert "untrusted" in done.out


def test_omitted_entry_is_named(program: Program, made: Path, trust: Path) -> None:
    whole = Bundle.decode(made.read_bytes())
    entries = list(whole.entries())
    at = next(at for at, entry in enumerate(entries) if entry.kind == "heartbeat")
    made.write_bytes(Bundle.of(whole.head, entries[:at] + entries[at + 1 :]).encode())
    done = program("verify", made, "--trust", trust)
    assert done.code == 1
    assert done.out.startswith("NOT SOUND: omitted")
    assert "not proven; " in done.out
    assert "all that the chip has" not in done.out


def test_flipped_byte_is_noticed_or_refused(program: Program, made: Path, trust: Path) -> None:
    data = made.read_bytes()
    for at in range(40, len(data), len(data) // 12):
        made.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        done = program("verify", made, "--trust", trust)
        assert done.code in (1, 2), at
        assert "Traceback" not in done.err
        assert (done.code == 2) == (len(done.err.splitlines()) == 1)


def test_redacted_bundle_verifies_and_says_what_is_withheld(
    program: Program, story: Story, trust: Path, tmp_path: Path
) -> None:
    path = tmp_path / "redacted.bundle"
    program("bundle", story.diverted, "-o", path, "--redacted", "--database", story.database)
    assert b"Frankfurt" not in path.read_bytes()
    done = program("verify", path, "--trust", trust)
    assert done.code == 0
    assert "withheld: " in done.out
    assert "statement withheld" in done.out


def test_chip_without_entries_is_proved_absent(
    program: Program, story: Story, trust: Path, tmp_path: Path
) -> None:
    path = tmp_path / "absent.bundle"
    assert program("bundle", ABSENT, "-o", path, "--database", story.database).code == 0
    done = program("verify", path, "--trust", trust)
    assert done.code == 0
    assert "the chip has no entry among the" in done.out


def test_report_as_json(program: Program, made: Path, trust: Path, story: Story) -> None:
    done = program("verify", made, "--trust", trust, "--json")
    report = json.loads(done.out)
    assert (report["accepted"], report["sound"], report["faults"]) == (True, True, [])
    assert report["ueid"] == story.diverted
    assert report["life"][0]["kind"] == "birth"
    assert report["entries"] == len(report["life"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("verify", "no.bundle"), "cannot read no.bundle"),
        (("verify", "junk"), "junk is no bundle that can be read"),
        (("verify", "junk", "--trust", "none.policy"), "cannot read none.policy"),
        (("verify", "junk", "--trust", "junk"), "junk is no trust policy"),
        (("verify", "junk", "--max-age", "-1"), "--max-age"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    program: Program, words: tuple[str, ...], says: str
) -> None:
    Path("junk").write_bytes(b"\xa1junk")
    done = program(*words)
    assert done.code == 2
    assert says in done.err
    assert done.out == ""


def test_bundle_cannot_be_written_where_there_is_no_folder(program: Program, story: Story) -> None:
    done = program("bundle", story.diverted, "-o", "no/where", "--database", story.database)
    assert (done.code, done.out) == (2, "")
    assert "cannot write no/where" in done.err


def test_service_gives_the_same_bundle(tmp_path: Path) -> None:
    stage = found(open_node(tmp_path))
    stage.node.publish()
    ueid = stage.chips[0].ueid
    is_open = ServiceSettings(access="open")
    with ServerThread(stage.node, settings=is_open) as server, Client(server.url) as client:
        whole, redacted = client.bundle(ueid), client.bundle(ueid.hex(), redacted=True)
    assert whole == stage.node.bundle(ueid)
    assert redacted == stage.node.bundle(ueid, redacted=True)
    assert len(redacted) < len(whole)
    stage.node.close()


def test_a_kept_checkpoint_is_extended_by_its_own_ledger(
    program: Program, story: Story, made: Path, trust: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.note"
    done = program("checkpoint", "-o", kept, "--database", story.database)
    assert done.code == 0, done.err
    assert done.out == ""
    assert "entries" in done.err
    assert program("verify", made, "--trust", trust, "--remembered", kept).code == 0


def test_a_ledger_that_was_put_back_does_not_extend_a_kept_checkpoint(
    program: Program, story: Story, made: Path, trust: Path, tmp_path: Path
) -> None:
    database = tmp_path / "ledger.db"
    with closing(sqlite3.connect(story.database)) as old, closing(sqlite3.connect(database)) as new:
        old.backup(new)
    node = open_node(tmp_path)
    node.set_time(node.status().now_ms + 86_400_000)
    node.close()
    kept = tmp_path / "kept.note"
    assert program("checkpoint", "-o", kept, "--database", database).code == 0
    done = program("verify", made, "--trust", trust, "--remembered", kept)
    assert done.code == 1
    assert done.out.startswith("NOT SOUND: rolled-back\n")


def test_a_ledger_without_a_checkpoint_gives_none(program: Program, tmp_path: Path) -> None:
    open_node(tmp_path).close()
    done = program("checkpoint", "-o", tmp_path / "n", "--database", tmp_path / "ledger.db")
    assert (done.code, done.out) == (2, "")
    assert "no checkpoint is published yet" in done.err
    assert not (tmp_path / "n").exists()
