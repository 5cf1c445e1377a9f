"""``check``: replay a ledger from its first entry and compare everything that is stored with it.

For each entry, in order: the leaf hash; the leaf's form; the statement's digest; its signature by
the key registered then; that admission had to decide as it did; each subject's chain; the tree.
Beside it run the tiles, the checkpoints and the verifier; at the end every derived table.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from ledger.appraisal.appraiser import Appraiser, LoggedEntry
from ledger.appraisal.places import cached_places
from ledger.errors import IntegrityError, Refused, StorageError
from ledger.geo.borders import Borders
from ledger.log.chain import Leaf, decode_leaf, leaf_hash
from ledger.protocol import statements as st
from ledger.protocol.keys import verify_many
from ledger.protocol.statements import Kind, Message
from ledger.registry.apply import apply
from ledger.registry.judge import judge
from ledger.registry.records import Registry, Subject
from ledger.service.audit import tables
from ledger.service.audit.cosignatures import check_cosignatures
from ledger.service.audit.heads import MapCheck
from ledger.service.audit.report import CheckReport, Fault, FaultFound
from ledger.service.audit.schema import check_schema
from ledger.service.audit.tree import TreeCheck
from ledger.service.audit.verdicts import VerdictCheck
from ledger.service.sequence import document_number
from ledger.store.engine import open_engine, reading
from ledger.store.log_rows import Head, entry_table, head_table, read_head
from ledger.store.schema import require_current
from ledger.values import ZERO_DIGEST, sha256, subject_key

CHUNK = 512
"""Entries whose signatures are handed to the executor together."""
AHEAD = 4
"""Chunks that may be under way there."""

Progress = Callable[[int, int], None]


def check_ledger(
    database: str,
    *,
    progress: Progress | None = None,
    executor: Executor | None = None,
    borders: Path | None = None,
) -> CheckReport:
    """Check a whole ledger without changing it; ``progress`` is told (entries done, all).

    Stops at the first fault. Raises ConfigurationError where there is no ledger to check, and where
    the file is so damaged that the database engine itself cannot read it the report says so.
    """
    report = CheckReport()
    engine = open_engine(database, read_only=True)
    try:
        require_current(engine)
        with reading(engine) as connection:
            _Check(connection, report, executor, borders).run(progress)
    except FaultFound as found:
        report.faults.append(found.fault)
    except (IntegrityError, StorageError) as error:
        report.faults.append(_stored_fault(engine, report, error))
    except Refused as refusal:
        report.faults.append(FaultFound(_reached(report), refusal.detail).fault)
    finally:
        engine.dispose()
    return report


def _stored_fault(
    engine: Engine, report: CheckReport, error: IntegrityError | StorageError
) -> Fault:
    """What a fault of stored data is; a database server that does not answer is none."""
    if not isinstance(error.__cause__, SQLAlchemyError):
        return Fault(_reached(report), str(error))
    if isinstance(error, StorageError) and (
        engine.dialect.name != "sqlite" or "locked" in str(error)
    ):
        raise error
    return Fault("database file", f"SQLite cannot read it: {error}")


def _reached(report: CheckReport) -> str:
    return f"after entry {report.entries - 1}" if report.entries else "at the start"


@dataclass(slots=True)
class _Row:
    """One stored entry, parsed; ``good`` is the signature's result where it was checked ahead."""

    values: Any
    message: Message
    leaf: Leaf
    good: bool | None = None

    @property
    def index(self) -> int:
        return int(self.values["idx"])


class _Check:
    def __init__(
        self,
        connection: Connection,
        report: CheckReport,
        executor: Executor | None,
        borders: Path | None,
    ) -> None:
        self._connection = connection
        self._report = report
        self._executor = executor
        self._registry = Registry()
        self._tree = TreeCheck(connection, report)
        self._map = MapCheck()
        appraiser = Appraiser(Registry(), cached_places(Borders.load(borders)))
        self._verdicts = VerdictCheck(appraiser, report)
        self._chains: dict[bytes, tuple[Subject, int, bytes]] = {}
        self._keys: dict[Subject, bytes] = {}
        self._link_sum = self._link_count = 0
        self._received_ms = 0
        self._fault: FaultFound | SQLAlchemyError | None = None
        """Why the entry behind the last one read cannot be read, or what is wrong with its form."""
        self._documents: list[dict[str, Any]] = []
        self._decisions: list[dict[str, Any]] = []

    def run(self, progress: Progress | None) -> None:
        self._check_file()
        head = self._head()
        for row in self._rows():
            if row.index == head.verifier_position:
                self._check_verifier()
            self._entry(row)
            if progress is not None and row.index % 100 == 0:
                progress(row.index, head.size)
        self._check_ends(head)
        if head.verifier_position == head.size:
            self._check_verifier()
        self._finish(head)
        if progress is not None:
            progress(head.size, head.size)

    def _check_file(self) -> None:
        """SQLite's own check of its pages; damage there would show as anything later."""
        if self._connection.dialect.name != "sqlite":
            return
        try:
            said = self._connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", error))
        if said != "ok":
            raise FaultFound("database file", f"SQLite finds it damaged: {said}")
        check_schema(self._connection)
        tables.check_types(self._connection)

    def _head(self) -> Head:
        rows = self._connection.execute(select(func.count()).select_from(head_table)).scalar()
        if rows != 1:
            raise FaultFound("log head", f"it has {rows} rows instead of one")
        try:
            head = read_head(self._connection)
        except IntegrityError as error:
            raise FaultFound("log head", str(error)) from error
        if not 0 <= head.verifier_position <= head.size:
            raise FaultFound("log head", "its verifier has read entries that there are not")
        return head

    def _check_ends(self, head: Head) -> None:
        """The walk met every entry that there has to be, and no other is stored."""
        entries = self._report.entries
        if entries < head.size:
            raise FaultFound(f"entry {entries}", "it is missing")
        if entries > head.size:
            raise FaultFound(f"entry {head.size}", f"the log's head says that it has {head.size}")
        first = self._connection.execute(select(func.min(entry_table.c.idx))).scalar()
        if first is not None and first < 0:
            raise FaultFound(f"entry {first}", "a log begins with entry 0")

    # -- entries ----------------------------------------------------------------------------

    def _entry(self, row: _Row) -> None:
        place, message = f"entry {row.index}", row.message
        self._check_signature(row)
        if row.leaf.received_ms < self._received_ms:
            raise FaultFound(place, "it was received before the entry before it")
        self._received_ms = row.leaf.received_ms
        verdict = self._judge(row)
        self._check_links(row, verdict.subjects)
        conflict = verdict.conflict is not None
        logged = LoggedEntry(
            row.index, row.values["leaf_hash"], row.leaf.received_ms, message, conflict
        )
        self._verdicts.before(logged, self._registry)
        apply(self._registry, message, verdict, row.leaf.received_ms)
        if message.kind is Kind.GENESIS:
            self._found(message)
        if message.kind is Kind.INDEX_ROOT and not conflict:
            self._map.index_root(row.index, message.body)
        self._tree.add(row.values["leaf_hash"], row.leaf.received_ms)
        self._check_last(row)
        self._verdicts.after(logged)
        self._note(row, conflict)
        self._report.entries += 1
        self._report.conflicts += conflict

    def _check_last(self, row: _Row) -> None:
        """Each checkpoint ends with an index-root (those from before the heads map had none)."""
        is_last = self._tree.published.size == row.index + 1
        if is_last and self._map.count and row.message.kind is not Kind.INDEX_ROOT:
            raise FaultFound(f"checkpoint {row.index + 1}", "it does not end with an index-root")

    def _check_signature(self, row: _Row) -> None:
        try:
            key = self._registry.key_for(row.message)
            if row.good is None:
                row.message.verify(key)
            elif not row.good:
                raise FaultFound(f"entry {row.index}, statement", "the signature does not verify")
        except Refused as refusal:
            raise FaultFound(f"entry {row.index}, statement", refusal.detail) from refusal
        self._report.signatures += 1

    def _judge(self, row: _Row) -> Any:
        place = f"entry {row.index}"
        try:
            verdict = judge(self._registry, row.message, row.leaf.received_ms)
        except Refused as refusal:
            raise FaultFound(place, f"it had to be refused: {refusal}") from refusal
        conflict = verdict.conflict
        kind = Kind.CONFLICT if conflict else row.message.kind
        if row.leaf.kind != kind.value:
            raise FaultFound(place, f"it is filed as {row.leaf.kind} and is a {kind.value}")
        expected = (
            None if conflict is None else conflict.value,
            verdict.detail or None,
            None if row.message.kind is Kind.HEARTBEAT else row.message.content_digest,
        )
        stored = tuple(row.values[name] for name in ("conflict", "detail", "content_digest"))
        if stored != expected:
            raise FaultFound(place, "its reason, detail or content digest is not what it makes")
        return verdict

    def _check_links(self, row: _Row, subjects: tuple[Subject, ...]) -> None:
        place = f"entry {row.index}"
        if len(row.leaf.links) != len(subjects):
            raise FaultFound(place, "its leaf names another number of subjects")
        for subject, link in zip(subjects, row.leaf.links, strict=True):
            key = self._keys.setdefault(subject, b"") or subject_key(*subject)
            self._keys[subject] = key
            _, count, head = self._chains.get(key, (subject, 0, ZERO_DIGEST))
            if (link.subject, link.seq, link.prev) != (key, count, head):
                raise FaultFound(place, f"it does not continue the chain of its {subject[0].value}")
            self._chains[key] = (subject, count + 1, row.values["leaf_hash"])
            self._map.add(key, count + 1, row.values["leaf_hash"])
            self._link_sum += tables.link_term(key, count, row.index)
            self._link_count += 1

    def _found(self, message: Message) -> None:
        self._tree.found(message.body)
        self._map.found(message.body)
        self._report.origin = message.body.origin
        self._report.genesis = message.digest.hex()

    def _note(self, row: _Row, conflict: bool) -> None:
        if conflict:
            return
        body, kind = row.message.body, row.message.kind
        number = document_number(kind, body)
        if number is not None:
            self._documents.append({"kind": kind.value, "number": number, "idx": row.index})
        elif kind is Kind.DECISION:
            self._decisions.append(
                {
                    "idx": row.index,
                    "ueid": body.ueid,
                    "action": body.action,
                    "sequence": body.sequence,
                }
            )

    # -- reading ----------------------------------------------------------------------------

    def _rows(self) -> Iterator[_Row]:
        """Stored entries in order, parsed; signatures of some chunks are under way ahead."""
        under_way: deque[tuple[list[_Row], Future[list[bool]] | None]] = deque()
        for chunk in self._chunks():
            under_way.append((chunk, self._ahead(chunk)))
            if len(under_way) > AHEAD:
                yield from _settled(*under_way.popleft())
        while under_way:
            yield from _settled(*under_way.popleft())
        if self._fault is not None:
            raise self._fault

    def _chunks(self) -> Iterator[list[_Row]]:
        position, size = 0, CHUNK
        while True:
            try:
                rows = self._read(position, size)
            except SQLAlchemyError as error:
                if size > 1:
                    size = 1  # to come as near to the damaged entry as can be
                    continue
                self._fault = error
                return
            if not rows:
                return
            parsed = []
            for expected, values in enumerate(rows, position):
                try:
                    parsed.append(_parse(values, expected))
                except FaultFound as found:
                    # What comes before is checked first: the first fault is the one to name.
                    self._fault = found
                    break
            yield parsed
            if self._fault is not None:
                return
            position += len(rows)

    def _read(self, position: int, size: int) -> Sequence[Any]:
        query = (
            select(entry_table)
            .where(entry_table.c.idx >= position)
            .order_by(entry_table.c.idx)
            .limit(size)
        )
        return self._connection.execute(query).mappings().all()

    def _ahead(self, chunk: list[_Row]) -> "Future[list[bool]] | None":
        if self._executor is None:
            return None
        items = []
        for row in chunk:
            owner = self._registry.find_owner(row.message.kid)
            if owner is None or row.message.kind is not Kind.HEARTBEAT:
                continue  # its key may be registered by an entry that is not applied yet
            message = row.message
            items.append((int(owner.key.alg), owner.key.raw, message.tbs, message.sign1.signature))
            row.good = False
        return self._executor.submit(verify_many, items)

    # -- the end ----------------------------------------------------------------------------

    def _check_verifier(self) -> None:
        appraiser = self._verdicts.appraiser
        tables.check_cases(self._connection, appraiser.registry, appraiser.cases)

    def _finish(self, head: Head) -> None:
        newest = max((row["idx"] + 1 for row in self._documents), default=0)
        if head.documents != newest:
            raise FaultFound("log head", "it does not name the newest genesis, policy or epoch")
        if head.received_ms != self._received_ms:
            raise FaultFound("log head", "its time is not that of the last entry")
        self._tree.finish(head)
        self._check_simulated_time(head)
        if head.published_frontier != self._tree.published:
            raise FaultFound("log head", "its published range is not that of the last checkpoint")
        self._verdicts.finish(self._registry, head.verifier_position)
        self._map.finish(self._connection)
        check_cosignatures(self._connection)
        tables.check_links(self._connection, self._link_sum % tables.MODULUS, self._link_count)
        tables.check_subjects(self._connection, self._chains)
        tables.check_registry(self._connection, self._registry)
        tables.check_indexes(self._connection, self._documents, self._decisions)
        self._report.chips = len(self._registry.chips)
        self._report.verifier_position = head.verifier_position

    def _check_simulated_time(self, head: Head) -> None:
        """Where no genesis names a simulated clock, the value is not used and says nothing."""
        genesis = self._registry.genesis
        if genesis is None or genesis.clock != "simulated":
            return
        if head.simulated_ms < self._received_ms:
            raise FaultFound("log head", "its simulated clock is behind the last entry")
        self._tree.check_published_before(head.simulated_ms)


def _settled(chunk: list[_Row], future: "Future[list[bool]] | None") -> Iterator[_Row]:
    if future is not None:
        results = iter(future.result())
        for row in chunk:
            if row.good is not None:
                row.good = next(results)
    return iter(chunk)


def _parse(values: Any, expected: int) -> _Row:
    """Check one stored entry by itself, cheap before dear."""
    place = f"entry {expected}"
    if values["idx"] != expected:
        raise FaultFound(place, "it is missing")
    if leaf_hash(values["leaf"]) != values["leaf_hash"]:
        raise FaultFound(f"{place}, leaf", "its bytes do not have the stored leaf hash")
    try:
        leaf = decode_leaf(values["leaf"])
    except Refused as refusal:
        raise FaultFound(f"{place}, leaf", refusal.detail) from refusal
    if (leaf.kind, leaf.received_ms) != (values["kind"], values["received_ms"]):
        raise FaultFound(f"{place}, leaf", "kind or time differ between leaf and row")
    if values["body"] is None:
        raise FaultFound(f"{place}, statement", "it is withheld and cannot be checked")
    if sha256(values["body"]) != leaf.statement_digest:
        raise FaultFound(f"{place}, statement", "its bytes do not have the leaf's digest")
    try:
        message = st.decode(values["body"])
    except Refused as refusal:
        raise FaultFound(f"{place}, statement", str(refusal)) from refusal
    return _Row(values, message, leaf)
