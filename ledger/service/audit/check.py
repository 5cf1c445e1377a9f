"""``check``: replay a ledger from its first entry and compare everything that is stored with it.

For each entry, in order: the leaf hash; the leaf's form; the statement's digest; its signature by
the key registered then; that admission had to decide as it did; each subject's chain; the tree.
Beside it run the tiles, the checkpoints and the verifier; at the end every derived table.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from ledger.appraisal.appraiser import Appraiser
from ledger.appraisal.places import cached_places
from ledger.errors import IntegrityError, Refused, StorageError
from ledger.geo.borders import Borders
from ledger.log.chain import leaf_hash
from ledger.protocol.statements import Kind, Message
from ledger.registry.records import Registry, Verdict
from ledger.service.audit import tables
from ledger.service.audit.cosignatures import check_cosignatures
from ledger.service.audit.replay import (
    CHUNK,
    Entry,
    Replay,
    read_leaf,
    read_statement,
    require_index_root,
    verified_ahead,
)
from ledger.service.audit.report import CheckReport, Fault, FaultFound
from ledger.service.audit.schema import check_schema
from ledger.service.audit.tokens import check_tokens
from ledger.service.audit.tree import TreeCheck
from ledger.service.audit.verdicts import VerdictCheck
from ledger.service.sequence import document_number
from ledger.store.engine import open_engine, reading
from ledger.store.log_rows import Head, entry_table, head_table, read_head
from ledger.store.schema import require_current

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
        self._tree = TreeCheck(connection, report)
        appraiser = Appraiser(Registry(), cached_places(Borders.load(borders)))
        self._verdicts = VerdictCheck(appraiser, report)
        self._replay = Replay(report, self._verdicts)
        self._link_sum = self._link_count = 0
        self._documents: list[dict[str, Any]] = []
        self._decisions: list[dict[str, Any]] = []

    def run(self, progress: Progress | None) -> None:
        self._check_file()
        head = self._head()
        for entry in verified_ahead(self._chunks(), self._replay, self._executor):
            if entry.index == head.verifier_position:
                self._check_verifier()
            self._entry(entry)
            if progress is not None and entry.index % 100 == 0:
                progress(entry.index, head.size)
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

    def _entry(self, entry: Entry) -> None:
        verdict = self._replay.add(entry)
        assert entry.message is not None  # noqa: S101 - _parse demands it
        assert verdict is not None  # noqa: S101
        _check_row(entry, entry.message, verdict)
        for link in entry.leaf.links:
            self._link_sum += tables.link_term(link.subject, link.seq, entry.index)
            self._link_count += 1
        if entry.message.kind is Kind.GENESIS:
            self._tree.found(entry.message.body)
        self._tree.add(entry.leaf_hash, entry.leaf.received_ms)
        if self._tree.published.size == entry.index + 1:
            require_index_root(self._replay, entry)
        if verdict.conflict is None:
            self._note(entry.index, entry.message)
        self._report.entries += 1

    def _note(self, index: int, message: Message) -> None:
        body, kind = message.body, message.kind
        number = document_number(kind, body)
        if number is not None:
            self._documents.append({"kind": kind.value, "number": number, "idx": index})
        elif kind is Kind.DECISION:
            self._decisions.append(
                {
                    "idx": index,
                    "ueid": body.ueid,
                    "action": body.action,
                    "sequence": body.sequence,
                }
            )

    # -- reading ----------------------------------------------------------------------------

    def _chunks(self) -> Iterator[list[Entry]]:
        """Stored entries in order, parsed."""
        position, size = 0, CHUNK
        while True:
            try:
                rows = self._read(position, size)
            except SQLAlchemyError:
                if size == 1:
                    raise
                size = 1  # to come as near to the damaged entry as can be
                continue
            if not rows:
                return
            parsed = []
            for expected, values in enumerate(rows, position):
                try:
                    parsed.append(_parse(values, expected))
                except FaultFound:
                    # What comes before is checked first: the first fault is the one to name.
                    yield parsed
                    raise
            yield parsed
            position += len(rows)

    def _read(self, position: int, size: int) -> Sequence[Any]:
        query = (
            select(entry_table)
            .where(entry_table.c.idx >= position)
            .order_by(entry_table.c.idx)
            .limit(size)
        )
        return self._connection.execute(query).mappings().all()

    # -- the end ----------------------------------------------------------------------------

    def _check_verifier(self) -> None:
        appraiser = self._verdicts.appraiser
        tables.check_cases(self._connection, appraiser.registry, appraiser.cases)

    def _finish(self, head: Head) -> None:
        newest = max((row["idx"] + 1 for row in self._documents), default=0)
        if head.documents != newest:
            raise FaultFound("log head", "it does not name the newest genesis, policy or epoch")
        if head.received_ms != self._replay.received_ms:
            raise FaultFound("log head", "its time is not that of the last entry")
        self._tree.finish(head)
        self._check_simulated_time(head)
        if head.published_frontier != self._tree.published:
            raise FaultFound("log head", "its published range is not that of the last checkpoint")
        position = head.verifier_position
        self._verdicts.finish(self._replay.registry, lambda due: due.cause < position)
        self._replay.heads.finish(self._connection)
        check_cosignatures(self._connection)
        check_tokens(self._connection)
        tables.check_links(self._connection, self._link_sum % tables.MODULUS, self._link_count)
        tables.check_subjects(self._connection, self._replay.chains)
        tables.check_registry(self._connection, self._replay.registry)
        tables.check_indexes(self._connection, self._documents, self._decisions)
        self._report.chips = len(self._replay.registry.chips)
        self._report.verifier_position = head.verifier_position

    def _check_simulated_time(self, head: Head) -> None:
        """Where no genesis names a simulated clock, the value is not used and says nothing."""
        genesis = self._replay.registry.genesis
        if genesis is None or genesis.clock != "simulated":
            return
        if head.simulated_ms < self._replay.received_ms:
            raise FaultFound("log head", "its simulated clock is behind the last entry")
        self._tree.check_published_before(head.simulated_ms)


def _check_row(entry: Entry, message: Message, verdict: Verdict) -> None:
    """The columns that admission wrote beside leaf and statement."""
    expected = (
        None if verdict.conflict is None else verdict.conflict.value,
        verdict.detail or None,
        None if message.kind is Kind.HEARTBEAT else message.content_digest,
    )
    stored = tuple(entry.row[name] for name in ("conflict", "detail", "content_digest"))
    if stored != expected:
        raise FaultFound(
            f"entry {entry.index}", "its reason, detail or content digest is not what it makes"
        )


def _parse(values: Any, expected: int) -> Entry:
    """Check one stored entry by itself, cheap before dear."""
    place = f"entry {expected}"
    if values["idx"] != expected:
        raise FaultFound(place, "it is missing")
    if leaf_hash(values["leaf"]) != values["leaf_hash"]:
        raise FaultFound(f"{place}, leaf", "its bytes do not have the stored leaf hash")
    leaf = read_leaf(expected, values["leaf"])
    if (leaf.kind, leaf.received_ms) != (values["kind"], values["received_ms"]):
        raise FaultFound(f"{place}, leaf", "kind or time differ between leaf and row")
    message = read_statement(expected, leaf, values["body"])
    return Entry(expected, leaf, values["leaf_hash"], message, values)
