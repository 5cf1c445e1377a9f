"""The auditor on sound ledgers and lying ones, interrupted anywhere, with one process or more."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from ledger.errors import ChipPassportError, ConfigurationError, IntegrityError, StorageError
from ledger.log.chain import decode_leaf
from ledger.log.cosignature import CosignatureVerifier
from ledger.log.note import open_note
from ledger.log.tiles import entry_bundle_decode, entry_bundle_encode
from ledger.log.vkey import Vkey
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from ledger.service import publish
from ledger.service.audit import folder as folders
from ledger.service.audit import outside
from ledger.service.audit.folder import AuditFolder
from ledger.service.check import check_ledger
from ledger.service.clock import SimulatedClock
from ledger.service.node import Node
from ledger.service.viewer import EVERYBODY, OPEN, PUBLIC_KINDS
from ledger.store.audit_rows import save_audit
from ledger.store.map_rows import apply_changes
from tests.service.auditing import (
    NAME,
    NOW_MS,
    Double,
    NodeSource,
    audited,
    fault,
    opened,
    trust_in,
    vkey_of,
)
from tests.service.harness import Stage, found, open_node
from tests.service.storied import flipped, tell
from tests.world import SINGAPORE, seed, signer


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A ledger of over 300 entries in which everything has happened."""
    folder = tmp_path_factory.mktemp("story")
    tell(folder, rounds=60)
    node = opened(folder / "ledger.db")
    yield node
    node.close()


@pytest.fixture(scope="module")
def vkey(story: Node) -> str:
    return vkey_of(story)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A small ledger that a test may go on with."""
    stage = found(open_node(tmp_path), chips=2)
    stage.hours()
    yield stage
    stage.node.close()


def leaves(node: Node) -> list[Any]:
    source, size = NodeSource(node), node.status().published_size
    found_leaves: list[Any] = []
    for n in range(size // 256 + 1):
        data = source.bundle(n, min(256, size - n * 256))
        found_leaves += map(decode_leaf, entry_bundle_decode(data or b""))
    return found_leaves


def first(node: Node, kind: Kind) -> int:
    """Index of the first entry of a kind."""
    return next(index for index, leaf in enumerate(leaves(node)) if leaf.kind == kind)


# -- sound -----------------------------------------------------------------------------------------


def test_sound_ledger_is_audited_whole_and_cosigned(story: Node, vkey: str, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = AuditFolder.open(tmp_path / "a", NAME)
    config = outside.AuditSettings(trust_in(vkey), SimulatedClock(NOW_MS))
    report = outside.audit(folder, NodeSource(story), config, lambda *at: told.append(at))
    size = story.status().published_size
    assert report.matches
    assert report.cosigned
    assert (report.size, report.entries, report.signatures, report.unseen) == (size, size, size, 0)
    assert (report.conflicts, report.decisions, report.chips, report.waiting) == (5, 7, 6, 0)
    assert report.map_roots > 60
    assert told[0] == (0, size)
    assert told[-1] == (size, size)
    note = folder.checkpoint_path.read_bytes()
    assert folder.vkey is not None
    text, lines = open_note(note, [CosignatureVerifier(folder.vkey)])
    assert note.startswith(NodeSource(story).checkpoint())
    assert text.decode().split("\n")[1] == str(size)
    assert lines[0].name == NAME
    assert (folder.path / folders.KEY).stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()


def test_counts_are_those_of_check(story: Node, vkey: str, tmp_path: Path) -> None:
    report = audited(tmp_path / "a", NodeSource(story), vkey)
    checked = check_ledger(story.settings.database)
    for name in ("entries", "signatures", "conflicts", "decisions", "chips", "genesis", "root"):
        assert getattr(report, name) == getattr(checked, name), name


def test_without_access_the_public_part_is_audited_and_nothing_cosigned(
    story: Node, vkey: str, tmp_path: Path
) -> None:
    for _ in range(2):
        report = audited(tmp_path / "a", NodeSource(story, EVERYBODY), vkey)
        assert report.matches
        assert not report.cosigned
        hidden = sum(leaf.kind not in PUBLIC_KINDS for leaf in leaves(story))
        assert report.unseen == hidden > 200
        assert report.signatures == report.entries - hidden
        assert (report.decisions, report.chips) == (0, 0)
    assert not (tmp_path / "a" / folders.CHECKPOINT).exists()


def test_auditor_without_a_name_cosigns_once_it_has_one(
    story: Node, vkey: str, tmp_path: Path
) -> None:
    report = audited(tmp_path / "a", NodeSource(story), vkey, name=None)
    assert (report.matches, report.cosigned, report.vkey) == (True, False, None)
    assert not (tmp_path / "a" / folders.KEY).exists()
    assert audited(tmp_path / "a", NodeSource(story), vkey).cosigned
    assert audited(tmp_path / "a", NodeSource(story), vkey, name=None).cosigned


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_several_workers_find_the_same(
    story: Node, vkey: str, tmp_path: Path, pool: Callable[[int], Any]
) -> None:
    alone = audited(tmp_path / "a", NodeSource(story), vkey)
    with pool(2) as executor, ThreadPoolExecutor(2) as fetching:
        both = audited(
            tmp_path / "b", NodeSource(story), vkey, verifying=executor, fetching=fetching
        )
        assert replace(both, vkey=None) == replace(alone, vkey=None)
        index = first(story, Kind.HEARTBEAT)

        def forged(page: list[bytes | None], start: int, limit: int) -> list[bytes | None]:
            at = index - start
            if 0 <= at < len(page):
                page[at] = flipped(page[at] or b"", -1)
            return page

        source = Double(NodeSource(story), statements=forged)
        report = audited(tmp_path / "c", source, vkey, verifying=executor, fetching=fetching)
        assert fault(report).startswith(f"entry {index}, statement: ")


def test_later_audit_reads_what_is_new(stage: Stage, tmp_path: Path) -> None:
    vkey, source = vkey_of(stage.node), NodeSource(stage.node)
    before = audited(tmp_path / "a", source, vkey)
    for _ in range(3):
        stage.beat(stage.chips[1], place=SINGAPORE)
    stage.hours()
    asked: list[int] = []

    def note(page: list[bytes | None], start: int, limit: int) -> list[bytes | None]:
        asked.append(start)
        return page

    later = audited(tmp_path / "a", Double(source, statements=note), vkey)
    assert later.matches
    assert later.cosigned
    assert later.first == before.size == min(asked)
    assert later.decisions == 1
    fresh = audited(tmp_path / "b", source, vkey)
    assert replace(later, first=0, vkey=None, tiles=0) == replace(fresh, vkey=None, tiles=0)


# -- interrupted -----------------------------------------------------------------------------------


def dump(folder: Path) -> list[str]:
    """Everything that an audit remembers, but its key and what it made with it."""
    connection = sqlite3.connect(folder / folders.DATABASE)
    try:
        lines = list(connection.iterdump())
    finally:
        connection.close()
    skipped = ('INSERT INTO "cosignatures"', 'INSERT INTO "audit_about"')
    return sorted(line for line in lines if not line.startswith(skipped))


def test_interrupted_anywhere_it_goes_on_and_ends_with_the_same(
    story: Node, vkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = audited(tmp_path / "whole", NodeSource(story), vkey)
    monkeypatch.setattr(outside, "BATCH", 37)  # in no step with tiles, index-roots or checkpoints
    save, left = save_audit, [1]

    def failing(connection: Any, change: Any) -> None:
        save(connection, change)  # written, and then it is not committed
        left[0] -= 1
        if left[0] < 0:
            raise StorageError("the disk is full")

    monkeypatch.setattr(outside, "save_audit", failing)
    runs, firsts = 0, []
    while True:
        runs += 1
        left[0] = runs % 2
        try:
            report = audited(tmp_path / "torn", NodeSource(story), vkey)
        except StorageError:
            assert runs < 40
            continue
        firsts.append(report.first)
        break
    assert runs > 10
    assert 0 < firsts[0] < whole.size
    assert report.cosigned
    assert replace(report, first=0, vkey=None) == replace(whole, vkey=None)
    assert dump(tmp_path / "torn") == dump(tmp_path / "whole")


def test_interrupted_public_audit_goes_on(
    story: Node, vkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = audited(tmp_path / "whole", NodeSource(story, EVERYBODY), vkey)
    monkeypatch.setattr(outside, "BATCH", 100)
    short = Double(NodeSource(story, EVERYBODY), statements=lambda page, start, _: cut(page, start))

    def cut(page: list[bytes | None], start: int) -> list[bytes | None]:
        if start >= 200:
            raise StorageError("the line is cut")
        return page[: 200 - start]

    with pytest.raises(StorageError):
        audited(tmp_path / "torn", short, vkey)
    report = audited(tmp_path / "torn", NodeSource(story, EVERYBODY), vkey)
    assert report.first in (0, 100, 200)
    assert replace(report, first=0, vkey=None) == replace(whole, vkey=None)
    assert dump(tmp_path / "torn") == dump(tmp_path / "whole")


def test_what_is_not_proved_to_be_of_the_checkpoint_is_not_remembered(
    story: Node, vkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one false answer would spoil every audit after it."""
    monkeypatch.setattr(outside, "BATCH", 64)
    index = first(story, Kind.EPOCH) + 40
    changed = altered_leaf(index)
    with_tile = Double(NodeSource(story), bundle=changed)
    report = audited(tmp_path / "a", with_tile, vkey)
    assert not report.matches
    again = audited(tmp_path / "a", NodeSource(story), vkey)
    assert again.matches
    assert again.first <= index


def altered_leaf(index: int) -> Callable[[bytes, int, int], bytes]:
    """A later time in one leaf, which is in its form all the same."""

    def change(data: bytes, n: int, width: int) -> bytes:
        items = entry_bundle_decode(data)
        at = index - 256 * n
        if 0 <= at < len(items):
            leaf = decode_leaf(items[at])
            items[at] = replace(leaf, received_ms=leaf.received_ms + 1).encode()
        return entry_bundle_encode(items)

    return change


# -- lies ------------------------------------------------------------------------------------------


def withhold(index: int) -> Callable[..., Any]:
    def change(page: list[bytes | None], start: int, limit: int) -> list[bytes | None]:
        return [None if at == index else item for at, item in enumerate(page, start)]

    return change


def test_changed_tile_is_named(story: Node, vkey: str, tmp_path: Path) -> None:
    def change(data: bytes, level: int, n: int, width: int) -> bytes:
        return flipped(data, 7 * 32) if (level, n) == (0, 0) else data

    report = audited(tmp_path / "a", Double(NodeSource(story), tile=change), vkey)
    assert fault(report) == "tile 0/0: hash 7 is not the one that the entries make"


def test_changed_partial_and_upper_tiles_are_named(story: Node, vkey: str, tmp_path: Path) -> None:
    def change(wanted: tuple[int, int]) -> Callable[..., bytes]:
        return lambda data, level, n, width: flipped(data, 0) if (level, n) == wanted else data

    for place in ((0, 1), (1, 0)):
        source = Double(NodeSource(story), tile=change(place))
        report = audited(tmp_path / f"{place}", source, vkey)
        assert fault(report).startswith(f"tile {place[0]}/{place[1]}: hash 0 is not")


@pytest.mark.parametrize("what", ["tile", "bundle"])
def test_missing_tile_is_named(story: Node, vkey: str, tmp_path: Path, what: str) -> None:
    def gone(data: bytes, *asked: int) -> bytes | None:
        return None if asked[-2] == 1 else data

    report = audited(tmp_path / "a", Double(NodeSource(story), **{what: gone}), vkey)
    assert fault(report) == f"{'tile 0/1' if what == 'tile' else 'entry bundle 1'}: it is missing"


def test_log_that_serves_full_tiles_alone_is_read(stage: Stage, tmp_path: Path) -> None:
    """As C2SP allows it for tiles that have become full since."""
    for _ in range(60):
        stage.take(*(stage.token(chip) for chip in stage.chips for _ in range(3)))
    stage.hours()
    old = NodeSource(stage.node).checkpoint()
    for _ in range(60):
        stage.take(*(stage.token(chip) for chip in stage.chips for _ in range(3)))
    stage.hours()
    size, present = int(old.split(b"\n")[1]), stage.node.status().published_size
    assert size // 256 < present // 256

    def only_full(data: bytes | None, *asked: int) -> bytes | None:
        level, n, width = (0, *asked) if len(asked) == 2 else asked
        return None if width < 256 and (n + 1) * 256 <= present >> 8 * level else data

    source = Double(
        NodeSource(stage.node), checkpoint=lambda _: old, tile=only_full, bundle=only_full
    )
    report = audited(tmp_path / "a", source, vkey_of(stage.node))
    assert report.faults == []
    assert report.size == size


def test_flipped_leaf_is_named(story: Node, vkey: str, tmp_path: Path) -> None:
    def change(data: bytes, n: int, width: int) -> bytes:
        items = entry_bundle_decode(data)
        if n == 0:
            items[40] = flipped(items[40], -1)
        return entry_bundle_encode(items)

    report = audited(tmp_path / "a", Double(NodeSource(story), bundle=change), vkey)
    assert fault(report).startswith("entry 40, statement: its bytes do not have")
    public = audited(tmp_path / "b", Double(NodeSource(story, EVERYBODY), bundle=change), vkey)
    assert fault(public).startswith("entry ")


def test_leaf_of_another_time_is_named(story: Node, vkey: str, tmp_path: Path) -> None:
    source = Double(NodeSource(story), bundle=altered_leaf(first(story, Kind.INDEX_ROOT)))
    assert not audited(tmp_path / "a", source, vkey).matches


def test_withheld_hold_is_named(story: Node, vkey: str, tmp_path: Path) -> None:
    index = first(story, Kind.DECISION)
    source = Double(NodeSource(story), statements=withhold(index))
    report = audited(tmp_path / "a", source, vkey)
    assert fault(report) == f"entry {index}, statement: it is withheld and cannot be checked"


def test_hold_that_is_withheld_from_a_later_audit_is_named(stage: Stage, tmp_path: Path) -> None:
    """Also where it is the first statement that is not everybody's."""
    vkey, source = vkey_of(stage.node), NodeSource(stage.node)
    stage.beat(stage.chips[1], place=SINGAPORE)
    stage.take(stage.token(stage.chips[1], place=SINGAPORE))
    stage.node.publish()
    early = audited(tmp_path / "a", source, vkey)
    assert (early.cosigned, early.waiting) == (True, 1)
    stage.hours()
    index = first(stage.node, Kind.DECISION)
    report = audited(tmp_path / "a", Double(source, statements=withhold(index)), vkey)
    assert fault(report) == f"entry {index}, statement: it is withheld and cannot be checked"
    with pytest.raises(ConfigurationError, match="no longer shows"):
        audited(tmp_path / "a", NodeSource(stage.node, EVERYBODY), vkey)
    assert audited(tmp_path / "a", source, vkey).cosigned


def test_public_statement_is_not_withheld_from_anybody(
    story: Node, vkey: str, tmp_path: Path
) -> None:
    index = first(story, Kind.POLICY)
    source = Double(NodeSource(story, EVERYBODY), statements=withhold(index))
    report = audited(tmp_path / "a", source, vkey)
    assert fault(report) == f"entry {index}, statement: it is withheld and cannot be checked"


def test_token_that_does_not_show_everything_is_said(
    story: Node, vkey: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="this token does not show entry"):
        audited(tmp_path / "a", NodeSource(story, EVERYBODY), vkey, has_token=True)
    audited(tmp_path / "b", NodeSource(story, EVERYBODY), vkey)
    with pytest.raises(ConfigurationError, match="holds an audit without statements"):
        audited(tmp_path / "b", NodeSource(story), vkey, has_token=True)


def test_decision_that_was_never_made_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Node, "follow", lambda *_, **__: None)
    stage = found(open_node(tmp_path), chips=2)
    for _ in range(2):
        stage.take(stage.token(stage.chips[1], place=SINGAPORE))
    cause = stage.node.status().size - 1
    stage.hours(0.9)
    vkey, source = vkey_of(stage.node), NodeSource(stage.node)
    early = audited(tmp_path / "a", source, vkey)
    assert (early.matches, early.waiting) == (True, 1)
    stage.hours(0.9)
    stage.take(stage.token(stage.chips[0]))
    stage.hours(0.9)
    ueid = stage.chips[1].ueid.hex()
    words = f"entry {cause}: the decision that it makes due is missing: hold of {ueid}"
    assert fault(audited(tmp_path / "a", source, vkey)).startswith(words)
    assert fault(audited(tmp_path / "b", source, vkey)).startswith(words)
    stage.node.close()


def test_decision_without_ground_is_named(stage: Stage, tmp_path: Path) -> None:
    chip, w = stage.chips[0], stage.world
    body = st.Decision(
        iat=w.iat,
        action="hold",
        ueid=chip.ueid,
        key=chip.signer.public.thumbprint,
        sequence=1,
        previous=bytes(32),
        rules=["licence"],
        reasons=["licence: because"],
        evidence=[],
        policy=bytes(32),
        issued_ms=w.now_ms,
        effective_ms=w.now_ms,
        appeal="nowhere",
    )
    (receipt,) = stage.take(st.sign(body, signer("verifier")))
    stage.hours()
    report = audited(tmp_path / "a", NodeSource(stage.node), vkey_of(stage.node))
    assert fault(report).startswith(f"entry {receipt.index}: the log gives no ground for it: hold")


def test_wrong_index_root_is_named(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = apply_changes
    wrong = lambda *a, **k: right(*a, **k)._replace(root=seed("wrong"))  # noqa: E731
    monkeypatch.setattr(publish, "apply_changes", wrong)
    stage.take(stage.token(stage.chips[0]))
    stage.hours()
    index = stage.node.status().published_size - 1
    for viewer in (OPEN, EVERYBODY):
        source = NodeSource(stage.node, viewer)
        report = audited(tmp_path / f"{viewer.role}", source, vkey_of(stage.node))
        words = "its root is not that of the heads map the entries make"
        assert fault(report) == f"entry {index}: {words}"


def test_checkpoint_of_another_key_and_of_another_ledger(
    story: Node, vkey: str, tmp_path: Path
) -> None:
    def resigned(note: bytes) -> bytes:
        text, _, line = note.rpartition(b" ")
        return text + b" " + flipped(line, 40, 0)

    assert not audited(tmp_path / "a", Double(NodeSource(story), checkpoint=resigned), vkey).matches
    parts = Vkey.parse(vkey)
    other = Vkey("other.example/ledger", parts.signature_type, parts.public_key).encode()
    with pytest.raises(ConfigurationError, match=r"the service has the ledger test\.example"):
        audited(tmp_path / "b", NodeSource(story), other)
    false = Vkey(parts.name, parts.signature_type, signer("false").public.raw).encode()
    report = audited(tmp_path / "c", NodeSource(story), false)
    assert "no known key has signed" in fault(report)


# -- forks and rollbacks ---------------------------------------------------------------------------


def test_rollback_is_named_and_proved(stage: Stage, tmp_path: Path) -> None:
    vkey, old = vkey_of(stage.node), NodeSource(stage.node).checkpoint()
    stage.take(stage.token(stage.chips[0]))
    stage.hours()
    source = NodeSource(stage.node)
    size = audited(tmp_path / "a", source, vkey).size
    report = audited(tmp_path / "a", Double(source, checkpoint=lambda _: old), vkey)
    old_size = int(old.split(b"\n")[1])
    assert fault(report) == (
        f"checkpoint {old_size}: it does not extend the one audited last, of {size} entries: "
        "the ledger was rolled back"
    )
    assert (tmp_path / "a" / folders.FORK / "shown").read_bytes() == old
    assert (tmp_path / "a" / folders.FORK / "audited").read_bytes() == source.checkpoint()


def two_histories(folder: Path) -> tuple[Stage, Stage]:
    """Two ledgers of one key that part behind their first checkpoint."""
    for name in ("one", "two"):
        (folder / name).mkdir()
    one = found(open_node(folder / "one"), chips=2)
    one.hours()
    one.node.close()
    shutil.copytree(folder / "one", folder / "two", dirs_exist_ok=True)
    stages = []
    for name, place in (("one", 0), ("two", 1)):
        stage = Stage(open_node(folder / name), one.world, [replace(c) for c in one.chips])
        stage.take(stage.token(stage.chips[place]))
        stages.append(stage)
    one.world.now_ms += 3_600_000
    for stage in stages:
        stage.node.set_time(one.world.now_ms)
    return stages[0], stages[1]


def test_forks_are_named(tmp_path: Path) -> None:
    one, two = two_histories(tmp_path)
    vkey = vkey_of(one.node)
    audited_size = audited(tmp_path / "a", NodeSource(one.node), vkey).size
    shown = NodeSource(two.node)
    words = f"it does not extend the one audited last, of {audited_size} entries: "
    report = audited(tmp_path / "a", shown, vkey)
    assert fault(report) == f"checkpoint {audited_size}: {words}it has another root, a fork"
    two.take(two.token(two.chips[0]))
    two.hours()
    report = audited(tmp_path / "a", shown, vkey)
    assert fault(report) == f"checkpoint {shown_size(shown)}: {words}a fork"
    assert (tmp_path / "a" / folders.FORK / "shown").read_bytes() == shown.checkpoint()
    # Tiles of the history that was audited, under a checkpoint of the other one.
    mixed = Double(NodeSource(one.node), checkpoint=lambda _: shown.checkpoint())
    report = audited(tmp_path / "a", mixed, vkey)
    assert not report.matches
    one.take(one.token(one.chips[0]))
    one.hours()
    assert audited(tmp_path / "a", NodeSource(one.node), vkey).cosigned
    one.node.close()
    two.node.close()


def shown_size(source: NodeSource) -> int:
    return int(source.checkpoint().split(b"\n")[1])


# -- the folder ------------------------------------------------------------------------------------


def test_memory_and_key_stay_together(story: Node, vkey: str, tmp_path: Path) -> None:
    source, folder = NodeSource(story), tmp_path / "a"
    assert audited(folder, source, vkey).cosigned
    with pytest.raises(ConfigurationError, match="one name and one key"):
        audited(folder, source, vkey, name="auditor.example/a2")
    key, database = folder / folders.KEY, folder / folders.DATABASE
    kept = key.rename(tmp_path / "key")
    with pytest.raises(ConfigurationError, match=r"audit\.key is missing"):
        audited(folder, source, vkey)
    kept.rename(key)
    database.unlink()
    with pytest.raises(ConfigurationError, match="forgot what it cosigned"):
        audited(folder, source, vkey)


def test_first_start_that_was_cut_off_is_gone_on_with(
    story: Node, vkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed behind the key's file and before the memory knows it, and in the key's file."""
    with monkeypatch.context() as patched:
        patched.setattr(folders, "set_vkey", fail)
        with pytest.raises(StorageError):
            AuditFolder.open(tmp_path, NAME)
    (tmp_path / f"{folders.KEY}.new").write_bytes(b"half")
    assert audited(tmp_path, NodeSource(story), vkey).cosigned
    (tmp_path / "b").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(folders, "make_key", fail)
        with pytest.raises(StorageError):
            AuditFolder.open(tmp_path / "b", NAME)
    (tmp_path / "b" / f"{folders.KEY}.new").write_bytes(b"half")
    assert audited(tmp_path / "b", NodeSource(story), vkey).cosigned


def fail(*_: Any) -> Any:
    raise StorageError("the disk is full")


def test_folder_of_somebody_else_is_refused(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    stage.node.close()
    shutil.copyfile(tmp_path / "ledger.db", folder / folders.DATABASE)
    with pytest.raises(ConfigurationError, match="something else than an audit"):
        AuditFolder.open(folder)
    (folder / folders.DATABASE).unlink()
    held = AuditFolder.open(folder)
    with pytest.raises(ConfigurationError, match="another process"):
        AuditFolder.open(folder)
    held.close()
    connection = sqlite3.connect(folder / folders.DATABASE)
    connection.execute("UPDATE audit_about SET version = 2")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigurationError, match="this program wants 1"):
        AuditFolder.open(folder)


def test_no_cosignature_for_a_smaller_tree_or_an_earlier_time(stage: Stage, tmp_path: Path) -> None:
    vkey, source = vkey_of(stage.node), NodeSource(stage.node)
    size = audited(tmp_path / "a", source, vkey).size
    folder = AuditFolder.open(tmp_path / "a")
    now_s = NOW_MS // 1000
    with pytest.raises(IntegrityError, match="has been cosigned"):
        folder.cosign(source.checkpoint(), size - 1, now_s)
    with pytest.raises(ConfigurationError, match="clock"):
        folder.cosign(source.checkpoint(), size, now_s - 61)
    before = folder.checkpoint_path.read_bytes()
    assert folder.cosign(source.checkpoint(), size, now_s - 60)
    assert folder.checkpoint_path.read_bytes() == before  # the time used last stands
    folder.close()


def test_cosignature_is_stored_before_it_is_shown(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vkey, source = vkey_of(stage.node), NodeSource(stage.node)
    with monkeypatch.context() as patched:
        patched.setattr(folders, "keep_cosignatures", fail)
        with pytest.raises(StorageError):
            audited(tmp_path / "a", source, vkey)
    assert not (tmp_path / "a" / folders.CHECKPOINT).exists()
    assert audited(tmp_path / "a", source, vkey).cosigned


def test_note_full_of_foreign_lines_is_cosigned_without_them(stage: Stage, tmp_path: Path) -> None:
    def stuffed(note: bytes) -> bytes:
        line = note.split(b"\n\n")[1]
        foreign = [line.replace(b"test.example/ledger", b"other.example/%d" % n) for n in range(63)]
        return note + b"".join(foreign)

    source = Double(NodeSource(stage.node), checkpoint=stuffed)
    assert audited(tmp_path / "a", source, vkey_of(stage.node)).cosigned
    note = (tmp_path / "a" / folders.CHECKPOINT).read_bytes()
    assert note.count("—".encode()) == 2


# -- any answer ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("small")
    stage = found(open_node(folder), chips=1)
    stage.beat(stage.chips[0])
    stage.hours()
    stage.node.close()
    node = opened(folder / "ledger.db")
    yield node
    node.close()


@given(
    what=some.sampled_from(["checkpoint", "tile", "bundle", "statements"]),
    cut=some.integers(0, 2_000),
    at=some.integers(0, 2_000),
    bit=some.integers(0, 7),
    more=some.binary(max_size=4),
    nth=some.integers(0, 3),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_answer_is_a_fault_or_none(
    small: Node,
    tmp_path_factory: pytest.TempPathFactory,
    what: str,
    cut: int,
    at: int,
    bit: int,
    more: bytes,
    nth: int,
) -> None:
    """A changed answer is named or makes no difference; it is never an error of the program."""

    def mutated(data: bytes) -> bytes:
        if nth == 0:
            return data[: cut % (len(data) + 1)]
        if nth == 1:
            return data + more
        return flipped(data, at % len(data), bit) if data else data

    def change(found_answer: Any, *asked: int) -> Any:
        if isinstance(found_answer, list):
            spoilt = found_answer[:]
            index = at % len(spoilt)
            spoilt[index] = mutated(spoilt[index] or b"")
            return spoilt[: len(spoilt) - nth] if nth == 3 else spoilt
        return mutated(found_answer)

    source = Double(NodeSource(small), **{what: change})
    folder = tmp_path_factory.mktemp("fuzz")
    try:
        report = audited(folder, source, vkey_of(small))
    except ChipPassportError:
        return
    assert all(found_fault.problem for found_fault in report.faults)
    assert report.cosigned == report.matches
