"""``check`` on damaged ledgers: whatever is changed, it is found and its place is named."""

import random
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from ledger.errors import ChipPassportError, ConfigurationError
from ledger.log.chain import Leaf, Link, decode_leaf, leaf_hash
from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.merkle import CompactRange
from ledger.log.note import NoteSigner
from ledger.log.tiles import grow
from ledger.protocol import statements as st
from ledger.service.check import check_ledger
from ledger.service.follow import Follower
from ledger.values import MILLIS_PER_DAY
from tests.service.harness import Stage, founded
from tests.service.storied import copy_of, flipped, place, run, tell, value
from tests.world import SINGAPORE, seed, signer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("story")
    tell(folder)
    return folder / "ledger.db"


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return copy_of(made, tmp_path)


def flip(path: Path, table: str, column: str, where: str, at: int = 5) -> None:
    """Change one bit of a stored byte string."""
    data = value(path, f"SELECT {column} FROM {table} WHERE {where}")
    run(path, f"UPDATE {table} SET {column} = ? WHERE {where}", [flipped(data, at)])


# -- every table and column -----------------------------------------------------------------------

CONFLICT = "idx = (SELECT min(idx) FROM entries WHERE conflict IS NOT NULL)"
LAST = "size = (SELECT max(size) FROM checkpoints)"
EARLY = "size = (SELECT min(size) FROM checkpoints)"
CAME = "(SELECT received_ms FROM entries WHERE idx = size - 1)"
WEEK = 7 * MILLIS_PER_DAY
CHIP = "ueid = (SELECT min(ueid) FROM chips WHERE holder = 'holder')"
HELD = "ueid = (SELECT min(ueid) FROM chips WHERE holder = 'holder' AND state = 'held')"

FLIPS = [
    ("entries", "leaf", "idx = 40", "entry 40, leaf"),
    ("entries", "leaf_hash", "idx = 40", "entry 40, leaf"),
    ("entries", "body", "idx = 40", "entry 40, statement"),
    ("entries", "content_digest", "idx = 3", "entry 3"),
    ("tiles", "data", "level = 0 AND n = 0", "tile 0/0"),
    ("map_buckets", "data", "n = (SELECT min(n) FROM map_buckets)", "heads map bucket"),
    ("map_nodes", "data", "level = 0", "heads map tile 0/0"),
    ("map_nodes", "data", "level = 1", "heads map tile 1/0"),
    ("checkpoints", "note", LAST, "checkpoint "),
    ("checkpoints", "root", LAST, "checkpoint "),
    ("checkpoints", "note", EARLY, "checkpoint "),
    ("log_head", "frontier", "id = 1", "log head"),
    ("log_head", "published_frontier", "id = 1", "log head"),
    ("entry_subjects", "subject", "idx = 40", "table entry_subjects"),
    ("subjects", "subject", "kind = 'licence' AND ident = X'4c2d31'", "table subjects, row"),
    ("subjects", "ident", "kind = 'licence' AND ident = X'4c2d31'", "table subjects, row"),
    ("subjects", "head", "kind = 'party' LIMIT 1", "table subjects, row"),
    ("keys", "kid", "owner = X'6d616b6572'", "table keys, row"),
    ("keys", "owner", "owner = X'6d616b6572'", "table keys, row"),
    ("keys", "cose_key", "owner = X'6d616b6572'", "table keys, row"),
    ("parties", "cose_key", "id = 'maker'", "table parties, row maker"),
    ("parties", "root_certificate", "id = 'maker'", "table parties, row maker"),
    ("licences", "body", "id = 'L-1'", "table licences, row L-1"),
    ("licences", "used", "id = 'L-1'", "table licences, row L-1"),
    ("chips", "ueid", CHIP, "table chips, row 01"),
    ("chips", "cose_key", CHIP, "table chips, row 01"),
    ("chips", "heartbeat_digest", CHIP, "table chips, row 01"),
    ("chips", "decision_digest", CHIP, "table chips, row 01"),
    ("decisions", "ueid", "sequence = 2", "table decisions, row "),
    ("cases", "ueid", HELD, "table cases, row 01"),
    ("cases", "data", HELD, "table cases, row 01"),
    ("cases", "chip", HELD, "table cases, row 01"),
    ("case_licences", "used", "id = 'L-1'", "table case_licences, row L-1"),
]


@pytest.mark.parametrize(("table", "column", "where", "expected"), FLIPS)
def test_flipped_bit_is_named(
    copy: Path, table: str, column: str, where: str, expected: str
) -> None:
    if where.endswith("LIMIT 1") and "(" not in where:
        kind = where.removesuffix(" LIMIT 1")
        where = f"subject = (SELECT min(subject) FROM subjects WHERE {kind})"
    flip(copy, table, column, where, at=-1 if column == "used" else 5)
    assert place(copy).startswith(expected)


SETS = [
    ("entries", "kind = 'party'", "idx = 40", "entry 40, leaf"),
    ("entries", "received_ms = received_ms + 1", "idx = 40", "entry 40, leaf"),
    ("entries", "content_digest = NULL", "idx = 3", "entry 3"),
    ("entries", "conflict = 'heartbeat-fork'", "idx = 40", "entry 40"),
    ("entries", "conflict = NULL", CONFLICT, "entry "),
    ("entries", "conflict = 'in-transit'", CONFLICT, "entry "),
    ("entries", "detail = 'nothing'", CONFLICT, "entry "),
    ("entries", "detail = NULL", CONFLICT, "entry "),
    ("entries", "detail = 'x'", "idx = 40", "entry 40"),
    ("entries", "body = NULL", "idx = 40", "entry 40, statement"),
    ("entries", "idx = -1", "idx = 40", "entry 40"),
    ("entries", "idx = 1000000", "idx = 40", "entry 40"),
    ("log_head", "size = size + 1", "id = 1", ""),
    ("log_head", "simulated_ms = received_ms - 1", "id = 1", "log head"),
    ("log_head", "simulated_ms = 0", "id = 1", "log head"),
    ("log_head", "received_ms = received_ms + 1", "id = 1", "log head"),
    ("log_head", "documents = documents - 1", "id = 1", "log head"),
    ("log_head", "published_size = published_size - 1", "id = 1", ""),
    ("log_head", "verifier_position = size + 1", "id = 1", "log head"),
    ("log_head", "verifier_position = 1000000", "id = 1", "log head"),
    ("log_head", "verifier_position = -1", "id = 1", "log head"),
    ("log_head", "verifier_position = 20", "id = 1", "table cases, row "),
    ("log_head", "verifier_position = 0", "id = 1", "table cases, row "),
    ("log_head", "id = 2", "id = 1", ""),
    ("checkpoints", "size = size - 1", LAST, "checkpoint "),
    ("checkpoints", "size = size + 1", LAST, "checkpoint "),
    ("checkpoints", "size = -1", LAST, "checkpoint -1"),
    ("checkpoints", "published_ms = 0", LAST, "checkpoint "),
    ("checkpoints", f"published_ms = {CAME} - 1", EARLY, "checkpoint "),
    ("checkpoints", f"published_ms = published_ms + {WEEK}", EARLY, "checkpoint "),
    ("checkpoints", f"published_ms = published_ms + {WEEK}", LAST, "checkpoint "),
    ("tiles", "n = 1", "level = 0 AND n = 0", "tile 0/0"),
    ("map_buckets", "n = 999", "n = (SELECT min(n) FROM map_buckets)", "heads map bucket"),
    ("map_nodes", "n = 1", "level = 1", "heads map tile"),
    ("map_nodes", "level = 2", "level = 1", "heads map tile"),
    ("tiles", "level = 1", "level = 0 AND n = 0", "tile 0/0"),
    ("entry_subjects", "idx = idx + 1", "idx = 40", "table entry_subjects"),
    ("entry_subjects", "idx = -1", "idx = 40", "table entry_subjects"),
    ("entry_subjects", "seq = -7", "idx = 40", "table entry_subjects"),
    ("subjects", "kind = 'chip'", "ident = X'4c2d31'", "table subjects, row"),
    ("subjects", "count = count + 1", "ident = X'4c2d31'", "table subjects, row"),
    ("keys", "owner_kind = 'chip'", "owner = X'6d616b6572'", "table keys, row"),
    ("parties", "id = 'Maker'", "id = 'maker'", "table parties, row maker"),
    ("parties", "name = 'Maker '", "id = 'maker'", "table parties, row maker"),
    ("parties", "roles = 'custodian'", "id = 'maker'", "table parties, row maker"),
    ("parties", "country = 'CN'", "id = 'maker'", "table parties, row maker"),
    ("parties", "parent = 'holder'", "id = 'maker'", "table parties, row maker"),
    ("parties", "root_certificate = NULL", "id = 'maker'", "table parties, row maker"),
    ("parties", "conflicts = 0", "id = 'reseller'", "table parties, row reseller"),
    ("parties", "conflict_epoch = 99", "id = 'reseller'", "table parties, row reseller"),
    ("licences", "id = 'L-9'", "id = 'L-1'", "table licences, row L-1"),
    ("chips", "model = 'XA-200'", CHIP, "table chips, row 01"),
    ("chips", "oemid = 5", CHIP, "table chips, row 01"),
    ("chips", "manufacturer = 'holder'", CHIP, "table chips, row 01"),
    ("chips", "holder = 'reseller'", CHIP, "table chips, row 01"),
    ("chips", "born_ms = born_ms - 1", CHIP, "table chips, row 01"),
    ("chips", "state = 'registered'", HELD, "table chips, row 01"),
    ("chips", "consignee = 'reseller'", CHIP, "table chips, row 01"),
    ("chips", "shipped_ms = 7", CHIP, "table chips, row 01"),
    ("chips", "shipped_licence = 'L-1'", CHIP, "table chips, row 01"),
    ("chips", "country = 'CN'", CHIP, "table chips, row 01"),
    ("chips", "site = 'Somewhere'", CHIP, "table chips, row 01"),
    ("chips", "latitude = latitude + 0.0000001", HELD, "table chips, row 01"),
    ("chips", "longitude = NULL", HELD, "table chips, row 01"),
    ("chips", "licence = 'L-9'", CHIP, "table chips, row 01"),
    ("chips", "over_quota = NOT over_quota", CHIP, "table chips, row 01"),
    ("chips", "retired = NOT retired", CHIP, "table chips, row 01"),
    ("chips", "counter = counter + 1", CHIP, "table chips, row 01"),
    ("chips", "heartbeat_ms = heartbeat_ms + 1", CHIP, "table chips, row 01"),
    ("chips", "decision_sequence = 77", CHIP, "table chips, row 01"),
    ("chips", "decision_action = 'revoke2'", CHIP, "table chips, row 01"),
    ("chips", "conflict_epoch = 77", CHIP, "table chips, row 01"),
    ("chips", "conflicts = 77", CHIP, "table chips, row 01"),
    ("chips", "forks = 77", CHIP, "table chips, row 01"),
    ("documents", "kind = 'policy'", "kind = 'genesis'", "table documents, row genesis/0"),
    ("documents", "number = 7", "kind = 'genesis'", "table documents, row "),
    ("documents", "idx = 3", "kind = 'genesis'", "table documents, row genesis/0"),
    ("decisions", "idx = idx + 1000", "sequence = 2", "table decisions, row "),
    ("decisions", "action = 'hold'", "sequence = 2", "table decisions, row "),
    ("decisions", "sequence = 3", "sequence = 2", "table decisions, row "),
    ("cases", "silent = NOT silent", HELD, "table cases, row 01"),
    ("cases", "suspect = NOT suspect", HELD, "table cases, row 01"),
    ("case_licences", "id = 'L-9'", "id = 'L-1'", "table case_licences, row L-1"),
]


QUICK = {"chips": ("holder", "latitude", "state", "retired"), "parties": ("name", "conflicts")}
"""Of the tables with many columns of one sort, those that the quick run changes."""


def _marked(case: tuple[str, str, str, str]) -> Any:
    table, change = case[:2]
    slow = table in QUICK and not change.startswith(QUICK[table])
    return pytest.param(*case, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize(("table", "change", "where", "expected"), [_marked(case) for case in SETS])
def test_changed_value_is_named(
    copy: Path, table: str, change: str, where: str, expected: str
) -> None:
    if change.startswith(("sequence", "action", "idx = idx + 1000")):
        where = "idx = (SELECT idx FROM decisions WHERE action = 'release')"
    run(copy, f"UPDATE {table} SET {change} WHERE {where}")
    assert place(copy).startswith(expected)


def test_every_column_is_in_one_of_the_lists(made: Path) -> None:
    """A new column needs a place where check compares it, or a bound at least."""
    changed = {(table, column) for table, column, _, _ in FLIPS}
    changed |= {(table, change.split(" = ")[0]) for table, change, _, _ in SETS}
    with closing(sqlite3.connect(made)) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name in {table for table, _ in changed}
        ]
        stored = {
            (table, row[1])
            for table in tables
            for row in connection.execute(f"PRAGMA table_info({table})")
        }
    assert stored == changed
    assert len(tables) == 16


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM entries WHERE idx = (SELECT max(idx) FROM entries)", "entry {last}"),
        ("DELETE FROM entries WHERE idx = 30", "entry 30"),
        ("DELETE FROM entries WHERE idx = 0", "entry 0"),
        ("DELETE FROM entries", "entry 0"),
        (f"DELETE FROM checkpoints WHERE {LAST}", "log head"),
        ("DELETE FROM checkpoints", "log head"),
        ("DELETE FROM tiles", "tile 0/0"),
        ("DELETE FROM log_head", "log head"),
        ("DELETE FROM subjects WHERE ident = X'4c2d31'", "table subjects, row"),
        (
            "DELETE FROM entry_subjects WHERE idx = (SELECT max(idx) FROM entry_subjects)",
            "table entry_subjects",
        ),
        ("DELETE FROM map_buckets WHERE n = (SELECT max(n) FROM map_buckets)", "heads map bucket"),
        ("DELETE FROM map_nodes WHERE level = 1", "heads map tile 1/0"),
        ("DELETE FROM keys WHERE owner = X'6d616b6572'", "table keys, row"),
        ("DELETE FROM parties WHERE id = 'maker'", "table parties, row maker"),
        ("DELETE FROM licences WHERE id = 'L-1'", "table licences, row L-1"),
        (f"DELETE FROM chips WHERE {CHIP}", "table chips, row 01"),
        ("DELETE FROM documents WHERE kind = 'genesis'", "table documents, row genesis/0"),
        ("DELETE FROM decisions WHERE action = 'release'", "table decisions, row "),
        (f"DELETE FROM cases WHERE {HELD}", "table cases, row 01"),
        ("DELETE FROM case_licences WHERE id = 'L-1'", "table case_licences, row L-1"),
    ],
)
def test_missing_row_is_named(copy: Path, statement: str, expected: str) -> None:
    last = value(copy, "SELECT max(idx) FROM entries")
    run(copy, statement)
    assert place(copy).startswith(expected.format(last=last))


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "INSERT INTO entries SELECT idx + 1, kind, received_ms, leaf, leaf_hash, body, NULL,"
            " conflict, detail FROM entries WHERE idx = (SELECT max(idx) FROM entries)",
            "",
        ),
        (
            "INSERT INTO entries SELECT -1, kind, received_ms, leaf, leaf_hash, body, NULL,"
            " conflict, detail FROM entries WHERE idx = 40",
            "entry -1",
        ),
        ("INSERT INTO tiles VALUES (0, 1, X'00')", "tiles"),
        ("INSERT INTO tiles VALUES (7, 0, X'00')", "tiles"),
        (
            f"INSERT INTO checkpoints SELECT size - 1, root, note, 1 FROM checkpoints WHERE {LAST}",
            "checkpoint ",
        ),
        (
            f"INSERT INTO checkpoints SELECT size + 5, root, note, 1 FROM checkpoints WHERE {LAST}",
            "checkpoint ",
        ),
        ("INSERT INTO entry_subjects VALUES (zeroblob(32), 0, 3)", "table entry_subjects"),
        (
            "INSERT INTO subjects VALUES (zeroblob(32), 'chip', X'01', 1, zeroblob(32))",
            "table subjects, row",
        ),
        (
            "INSERT INTO keys SELECT zeroblob(16), owner_kind, owner, cose_key FROM keys LIMIT 1",
            "table keys, row 00",
        ),
        ("INSERT INTO documents VALUES ('policy', 9, 3)", "table documents, row policy/9"),
        (
            "INSERT INTO decisions SELECT 3, ueid, 'hold', 9 FROM decisions LIMIT 1",
            "table decisions, row 3",
        ),
        (
            "INSERT INTO cases SELECT X'02', data, chip, silent, suspect FROM cases LIMIT 1",
            "table cases, row 02",
        ),
        ("INSERT INTO case_licences VALUES ('L-9', X'a0')", "table case_licences, row L-9"),
        (
            "INSERT INTO log_head SELECT 2, size, frontier, received_ms, published_size,"
            " published_frontier, verifier_position, documents, simulated_ms FROM log_head",
            "log head",
        ),
    ],
)
def test_row_too_many_is_named(copy: Path, statement: str, expected: str) -> None:
    run(copy, statement)
    assert place(copy).startswith(expected)


@pytest.mark.parametrize(
    ("table", "change", "where"),
    [
        ("entries", "leaf = 'text'", "idx = 40"),
        ("entries", "leaf = CAST(leaf AS TEXT)", "idx = 40"),
        ("entries", "body = 5", "idx = 40"),
        ("entries", "received_ms = 'soon'", "idx = 40"),
        ("entries", "kind = X'ff'", "idx = 40"),
        ("entries", "kind = CAST(X'ff' AS TEXT)", "idx = 40"),
        ("entries", "conflict = X'00'", "idx = 40"),
        ("checkpoints", "note = 'text'", LAST),
        ("checkpoints", "root = 'text'", LAST),
        ("tiles", "data = 'text'", "level = 0"),
        ("tiles", "data = X''", "level = 0"),
        ("log_head", "frontier = 'text'", "id = 1"),
        ("log_head", "frontier = X'00'", "id = 1"),
        ("log_head", "size = 'many'", "id = 1"),
        ("entry_subjects", "seq = 'first'", "idx = 40"),
        ("entry_subjects", "subject = 'me'", "idx = 40"),
        ("subjects", "count = X'00'", "ident = X'4c2d31'"),
        ("chips", "latitude = 'north'", HELD),
        ("chips", "over_quota = 5", CHIP),
        ("chips", "retired = 'no'", CHIP),
        ("chips", "ueid = 'me'", CHIP),
        ("chips", "holder = CAST(X'c328' AS TEXT)", CHIP),
        ("cases", "silent = 3", "silent = 1"),
        ("documents", "number = X'00'", "kind = 'genesis'"),
        ("alembic_version", "version_num = X'00'", "1"),
        ("alembic_version", "version_num = '0000'", "1"),
        ("alembic_version", "version_num = CAST(X'c328' AS TEXT)", "1"),
    ],
)
def test_value_of_another_type_is_a_fault_and_no_traceback(
    copy: Path, table: str, change: str, where: str
) -> None:
    """SQLite keeps whatever it is given in any column."""
    run(copy, f"UPDATE {table} SET {change} WHERE {where}")
    assert refused_or_unsound(copy)


def refused_or_unsound(path: Path) -> bool:
    """Whether check noticed; anything but a fault or a one-line refusal comes out as it is."""
    try:
        report = check_ledger(str(path))
    except ConfigurationError:
        return True
    return not report.sound


def test_first_fault_is_the_one_that_is_named(copy: Path) -> None:
    """The later one shows in the form of an entry, the earlier one only when it is judged."""
    run(copy, "UPDATE entries SET detail = 'x' WHERE idx = 40")
    flip(copy, "entries", "leaf", "idx = 50")
    assert place(copy) == "entry 40"


@pytest.mark.parametrize("pool", [None, ThreadPoolExecutor])
@pytest.mark.parametrize("chunk", [4, 512])
def test_first_fault_is_named_while_later_entries_are_under_way(
    copy: Path,
    monkeypatch: pytest.MonkeyPatch,
    chunk: int,
    pool: type[ThreadPoolExecutor] | None,
) -> None:
    """Entries are read and their signatures checked ahead of the one that is judged."""
    monkeypatch.setattr("ledger.service.audit.check.CHUNK", chunk)
    run(copy, "DELETE FROM checkpoints")
    run(copy, "UPDATE log_head SET published_size = 0, published_frontier = zeroblob(8)")
    for index in (48, 40):
        token = value(copy, f"SELECT body FROM entries WHERE idx = {index}")
        reseal(copy, index, flipped(token, -1))
    with pool(2) if pool else nullcontext() as executor:
        assert place(copy, executor=executor) == "entry 40, statement"
        flip(copy, "entries", "leaf", "idx = 43")
        assert place(copy, executor=executor) == "entry 40, statement"
        run(copy, "UPDATE entries SET detail = CAST(X'c328' AS TEXT) WHERE idx = 42")
        assert place(copy, executor=executor) == "entry 40, statement"
        run(copy, "UPDATE entries SET detail = 'x' WHERE idx = 39")
        assert place(copy, executor=executor) == "entry 39"


# -- forgeries that fit ---------------------------------------------------------------------------


def reseal(path: Path, index: int, token: bytes) -> None:
    """Put another statement in an entry's place and make its leaf hash, links and tree fit."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT idx, leaf FROM entries ORDER BY idx").fetchall()
        hashes: list[bytes] = []
        renamed: dict[bytes, bytes] = {}
        for idx, leaf in rows:
            parsed = decode_leaf(leaf)
            links = tuple(
                Link(link.subject, link.seq, renamed.get(link.prev, link.prev))
                for link in parsed.links
            )
            digest = sha256(token).digest() if idx == index else parsed.statement_digest
            changed = Leaf(parsed.kind, parsed.received_ms, links, digest).encode()
            renamed[leaf_hash(leaf)] = leaf_hash(changed)
            hashes.append(leaf_hash(changed))
            connection.execute(
                "UPDATE entries SET leaf = ?, leaf_hash = ? WHERE idx = ?",
                (changed, hashes[-1], idx),
            )
        connection.execute(
            "UPDATE entries SET body = ? WHERE idx = ?",
            (token, index),
        )
        for subject, head in connection.execute("SELECT subject, head FROM subjects").fetchall():
            connection.execute(
                "UPDATE subjects SET head = ? WHERE subject = ?", (renamed[head], subject)
            )
        frontier = CompactRange().extend(hashes)
        connection.execute("UPDATE log_head SET frontier = ?", (frontier.encode(),))
        for (level, n), data in grow({}, 0, hashes).items():
            connection.execute(
                "UPDATE tiles SET data = ? WHERE level = ? AND n = ?", (data, level, n)
            )
        connection.commit()


def test_rewritten_entry_under_a_tree_made_to_fit_is_found(copy: Path) -> None:
    """Without a checkpoint that covers it nothing but the signature gives it away."""
    run(copy, "DELETE FROM checkpoints")
    run(copy, "UPDATE log_head SET published_size = 0, published_frontier = zeroblob(8)")
    token = value(copy, "SELECT body FROM entries WHERE idx = 40")
    reseal(copy, 40, flipped(token, -1))
    assert place(copy) == "entry 40, statement"


def test_honest_rebuild_of_the_tree_is_sound(copy: Path) -> None:
    """The counterpart: the rewriting above is right, and only the forged byte is found."""
    token = value(copy, "SELECT body FROM entries WHERE idx = 40")
    reseal(copy, 40, token)
    assert check_ledger(str(copy)).faults == []


def test_rewritten_log_does_not_fit_its_checkpoints(copy: Path) -> None:
    """Signer and ledger agree on another past; the heads map committed to next does not."""
    index = value(copy, "SELECT idx FROM entries WHERE kind = 'retire'")
    body: Any = st.decode(value(copy, f"SELECT body FROM entries WHERE idx = {index}")).body
    other = st.sign(body.model_copy(update={"cause": "sold"}), signer("reseller"))
    digest = st.decode(other).content_digest
    run(copy, f"UPDATE entries SET content_digest = ? WHERE idx = {index}", [digest])
    reseal(copy, index, other)
    following = f"SELECT min(idx) FROM entries WHERE kind = 'index-root' AND idx > {index}"
    assert place(copy) == f"entry {value(copy, following)}"


def test_checkpoint_by_another_key_is_found(copy: Path) -> None:
    size, root = (
        value(copy, f"SELECT {c} FROM checkpoints WHERE {LAST}") for c in ("size", "root")
    )
    note = sign_checkpoint(
        Checkpoint("test.example/ledger", size, root),
        [NoteSigner("test.example/ledger", signer("thief"))],
    )
    run(copy, f"UPDATE checkpoints SET note = ? WHERE {LAST}", [note])
    assert place(copy) == f"checkpoint {size}"


def test_checkpoint_of_another_root_by_the_right_key_is_found(copy: Path) -> None:
    """A ledger that has signed two histories."""
    size = value(copy, f"SELECT size FROM checkpoints WHERE {LAST}")
    note = sign_checkpoint(
        Checkpoint("test.example/ledger", size, seed("fork")),
        [NoteSigner("test.example/ledger", signer("ledger"))],
    )
    run(copy, f"UPDATE checkpoints SET note = ?, root = ? WHERE {LAST}", [note, seed("fork")])
    assert place(copy) == f"checkpoint {size}"


# -- decisions ------------------------------------------------------------------------------------


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return founded(tmp_path, chips=2)


def closed_place(stage: Stage) -> str:
    stage.node.close()
    return place(Path(stage.node.settings.database))


def hold(stage: Stage, **changes: Any) -> st.Decision:
    """A hold of the first chip as the verifier would word it."""
    (chip, _) = stage.chips
    token = stage.world.release(
        chip,
        1,
        bytes(32),
        action="hold",
        rules=["location-claim"],
        appeal="to authority",
        **changes,
    )
    body = st.decode(token).body
    assert isinstance(body, st.Decision)
    return body


def test_decision_without_ground_is_found(stage: Stage) -> None:
    """Signed with the verifier's key, admitted by the ledger, and nothing on the log for it."""
    stage.beat(stage.chips[0])
    index = stage.take(st.sign(hold(stage), signer("verifier")))[0].index
    stage.node.follow()
    assert closed_place(stage) == f"entry {index}"


def test_decision_that_is_due_and_missing_is_found(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Follower, "_append", lambda *_: 0)
    for _ in range(2):
        cause = stage.beat(stage.chips[0], place=SINGAPORE).index
    stage.beat(stage.chips[0])
    assert stage.decisions(stage.chips[0]) == []
    assert closed_place(stage) == f"entry {cause}"


def test_decision_that_was_due_before_the_newest_one_is_missed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verifier's state was not saved behind it, so only the newer decision says it was due."""
    first, second = stage.chips
    append = Follower._append
    monkeypatch.setattr(
        Follower,
        "_append",
        lambda self, drafts, now_ms: append(
            self, [draft for draft in drafts if draft.ueid != first.ueid], now_ms
        ),
    )
    for _ in range(2):
        stage.beat(first, place=SINGAPORE)
    path = stage.node.settings.database
    assert check_ledger(path).faults == []  # the verifier may not have come to it yet
    for _ in range(2):
        stage.beat(second, place=SINGAPORE)
    (decision,) = stage.decisions(second)
    position = value(Path(path), "SELECT verifier_position FROM log_head")
    report = check_ledger(path)
    stage.node.close()
    assert position < decision["index"]
    assert report.faults[0].place == f"entry {decision['index']}"
    assert f"should have decided on entry {decision['index'] - 3} first" in report.faults[0].problem


@pytest.mark.parametrize(
    "changes",
    [
        {"reasons": ["because I say so"]},
        {"evidence": []},
        {"policy": bytes(32)},
        {"rules": ["travel"]},
        {"appeal": "to nobody"},
        {"issued_ms": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_decision_other_than_the_due_one_is_found(
    tmp_path: Path, stage: Stage, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    sign = st.sign

    def altered(body: Any, key: Any) -> bytes:
        if isinstance(body, st.Decision):
            body = body.model_copy(update=changes)
        return sign(body, key)

    monkeypatch.setattr("ledger.service.follow.st.sign", altered)
    for _ in range(2):
        stage.beat(stage.chips[0], place=SINGAPORE)
    monkeypatch.undo()
    (decision,) = stage.decisions(stage.chips[0])
    assert closed_place(stage) == f"entry {decision['index']}"


def test_officers_release_needs_no_ground(stage: Stage) -> None:
    (chip, _) = stage.chips
    for _ in range(2):
        stage.beat(chip, place=SINGAPORE)
    (decision,) = stage.decisions(chip)
    stage.take(stage.world.release(chip, 2, bytes.fromhex(decision["digest"])))
    stage.node.close()
    assert check_ledger(stage.node.settings.database).faults == []


# -- anywhere -------------------------------------------------------------------------------------

BLOBS = [
    ("entries", "leaf"),
    ("entries", "leaf_hash"),
    ("entries", "body"),
    ("entries", "content_digest"),
    ("tiles", "data"),
    ("checkpoints", "note"),
    ("checkpoints", "root"),
    ("log_head", "frontier"),
    ("log_head", "published_frontier"),
    ("entry_subjects", "subject"),
    ("subjects", "subject"),
    ("subjects", "ident"),
    ("subjects", "head"),
    ("keys", "kid"),
    ("keys", "owner"),
    ("keys", "cose_key"),
    ("parties", "cose_key"),
    ("parties", "root_certificate"),
    ("licences", "body"),
    ("licences", "used"),
    ("chips", "ueid"),
    ("chips", "cose_key"),
    ("chips", "heartbeat_digest"),
    ("chips", "decision_digest"),
    ("decisions", "ueid"),
    ("cases", "ueid"),
    ("cases", "data"),
    ("cases", "chip"),
    ("case_licences", "used"),
    ("map_buckets", "data"),
    ("map_nodes", "data"),
]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choice=some.sampled_from(BLOBS), draw=some.data())
def test_any_flipped_bit_of_any_byte_string_is_found(
    made: Path, tmp_path: Path, choice: tuple[str, str], draw: some.DataObject
) -> None:
    path, (table, column) = copy_of(made, tmp_path), choice
    query = f"FROM {table} WHERE {column} IS NOT NULL AND length({column}) > 0"
    number = draw.draw(some.integers(0, value(path, f"SELECT count(*) {query}") - 1), label="row")
    data = value(path, f"SELECT {column} {query} ORDER BY 1 LIMIT 1 OFFSET {number}")
    at = draw.draw(some.integers(0, len(data) - 1), label="byte")
    changed = flipped(data, at, draw.draw(some.integers(0, 7), label="bit"))
    run(path, f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {column} = ?", [changed, data])
    assert not check_ledger(str(path)).sound


UNVERIFIED = {("checkpoints", "published_ms"), ("log_head", "simulated_ms")}
"""Columns that entries only set bounds to."""


def content(path: Path) -> list[Any] | None:
    """Everything that SQLite reads out of a file, but for what cannot be verified."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            names = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
            ).fetchall()
            found: list[Any] = []
            for (name,) in names:
                columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]
                wanted = [f'quote("{c}")' for c in columns if (name, c) not in UNVERIFIED]
                rows = connection.execute(f'SELECT {", ".join(wanted)} FROM "{name}"').fetchall()
                found.append((name, sorted(rows, key=repr)))
            return found
    except sqlite3.Error:
        return None


def flip_file(made: Path, tmp_path: Path, offsets: list[int]) -> tuple[int, int]:
    """Flip one bit of the file at each offset in turn; returns (noticed, of no meaning)."""
    whole = made.read_bytes()
    before = content(made)
    assert before is not None
    path = tmp_path / "flipped.db"
    noticed = harmless = 0
    for at in offsets:
        path.write_bytes(flipped(whole, at, at % 8))
        for rest in ("-wal", "-shm"):
            path.with_name(path.name + rest).unlink(missing_ok=True)
        if refused_or_unsound(path):
            noticed += 1
        else:
            # Unused space, a counter of SQLite's own, a name in the schema: nothing was lost.
            assert content(path) == before, (
                f"byte {at} changed what is stored, and check is content"
            )
            harmless += 1
    return noticed, harmless


def test_bit_flipped_in_the_file_is_noticed_or_changes_nothing(made: Path, tmp_path: Path) -> None:
    offsets = random.Random(7).sample(range(made.stat().st_size), 15)
    noticed, _ = flip_file(made, tmp_path, [*offsets, 0, 17, 20, 60, 100, 105])
    assert noticed > 5


@pytest.mark.slow
def test_many_bits_flipped_in_the_file(made: Path, tmp_path: Path) -> None:
    noticed, harmless = flip_file(
        made, tmp_path, [*range(112), *random.Random(8).sample(range(made.stat().st_size), 400)]
    )
    assert noticed > harmless / 4


@pytest.mark.parametrize("keep", [0, 50, 1024, 4096, -4096, -1])
def test_cut_file_is_noticed(made: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.db"
    path.write_bytes(made.read_bytes()[:keep])
    assert refused_or_unsound(path)


def test_overwritten_page_is_a_fault_of_the_database_file(made: Path, tmp_path: Path) -> None:
    data = bytearray(made.read_bytes())
    root = value(made, "SELECT rootpage FROM sqlite_master WHERE name = 'chips'")
    data[(root - 1) * 4096 : root * 4096] = bytes(4096)
    path = tmp_path / "page.db"
    path.write_bytes(data)
    assert place(path) == "database file"


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE chips RENAME COLUMN holder TO owner",
        "DROP TABLE cases",
        "UPDATE entries SET detail = CAST(X'c328' AS TEXT) WHERE idx = 40",
    ],
)
def test_what_the_database_engine_complains_of_is_a_fault_of_the_file(
    copy: Path, statement: str
) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute(statement)
        connection.commit()
    assert place(copy) == "database file"


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM cases; END", "trigger t"),
        ("CREATE TEMP TABLE harmless (a)", None),
        ("CREATE TABLE more (a)", "table more"),
        ("CREATE VIEW v AS SELECT * FROM chips", "view v"),
        ("CREATE INDEX i ON chips (counter)", "index i"),
        ("DROP INDEX ix_chips_state", "index ix_chips_state is missing"),
        ("DROP TABLE cases", "table cases is missing"),
        ("ALTER TABLE chips ADD COLUMN owner TEXT", "table chips is not as"),
        ("ANALYZE", None),
    ],
)
def test_what_no_migration_made_is_found(copy: Path, statement: str, name: str | None) -> None:
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute(statement)
        connection.commit()
    report = check_ledger(str(copy))
    assert [fault.place for fault in report.faults] == ["database file"] * (name is not None)
    assert name is None or name in report.faults[0].problem


@pytest.mark.parametrize("name", ["sqlite_x", "SQLITE_autoindex_entries_9", "sqlite_stat1"])
def test_trigger_with_a_name_of_sqlites_own_is_found(copy: Path, name: str) -> None:
    text = f"CREATE TRIGGER {name} AFTER INSERT ON entries BEGIN DELETE FROM cases; END"
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        row = ("trigger", name, "entries", 0, text)
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
        connection.commit()
    report = check_ledger(str(copy))
    assert f"no migration makes its trigger {name}" in report.faults[0].problem


def test_several_schema_versions_are_refused_in_one_line(copy: Path) -> None:
    run(copy, "INSERT INTO alembic_version VALUES ('0000')")
    with pytest.raises(ConfigurationError, match="several schemas"):
        check_ledger(str(copy))


def test_errors_are_of_the_one_family(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy.write_bytes(b"")
    with pytest.raises(ChipPassportError):
        check_ledger(str(copy))
    _: Callable[..., Any] = check_ledger
