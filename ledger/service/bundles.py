"""Reading what a passport bundle needs out of a ledger's database.

Everything is as of the newest checkpoint, and read in one transaction: the heads map changes with
the checkpoint only, so both belong together.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, select

from ledger.bundle.build import Chain, Stored, Trees, build
from ledger.bundle.format import Bundle
from ledger.bundle.redact import KEPT
from ledger.errors import IntegrityError, Reason, Refused
from ledger.log.checkpoint import Checkpoint
from ledger.log.headsmap import map_nodes
from ledger.log.note import parse_note
from ledger.log.tiles import tile_nodes
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from ledger.service.access import require_chip
from ledger.service.cosigned import cosigned_checkpoint
from ledger.service.history import stored_message
from ledger.service.viewer import OPEN, Viewer
from ledger.store.log_rows import entry_table, link_table, stored_tiles
from ledger.store.map_rows import MapRows
from ledger.store.registry_rows import document_table, key_table
from ledger.values import SubjectKind, check_ueid, subject_key

_COLUMNS = (entry_table.c.idx, entry_table.c.leaf, entry_table.c.body)
_NAMED = (
    ("to", SubjectKind.PARTY),
    ("sender", SubjectKind.PARTY),
    ("holder", SubjectKind.PARTY),
    ("parent", SubjectKind.PARTY),
    ("licence", SubjectKind.LICENCE),
)
"""Members of statements that name a party or a licence."""
_REPORTS = (Kind.HEARTBEAT.value, Kind.CONFLICT.value)
"""Kinds of entries that may hold a heartbeat, and so name an epoch."""
_message = lru_cache(maxsize=1_024)(stored_message)
"""Most of what bundles refer to, they refer to in common: genesis, policies, registrations."""


def read_bundle(
    connection: Connection, ueid: bytes, *, since: Sequence[int] = (), redacted: bool = False
) -> Bundle:
    """The bundle of a chip under the newest checkpoint, cosignatures included.

    A UEID without entries gives a proof of that. ``since``: sizes of earlier checkpoints to prove
    consistency from. ``redacted``: for anybody; with every statement left out that may be, and
    without the chains of parties and licences, whose ids would tell who held the chip.
    Refused: LEDGER_EMPTY before the first checkpoint with a heads map, CLAIM_INVALID for what is
    no UEID, PROOF_INVALID for sizes that do not lie below the checkpoint's.
    """
    return _Reader(connection, check_ueid(ueid)).read(since, redacted)


def bundle_bytes(
    connection: Connection, ueid: bytes, *, redacted: bool = False, viewer: Viewer = OPEN
) -> bytes:
    """``read_bundle`` as bytes.

    One that is not redacted is Refused (TOKEN_REQUIRED, TOKEN_SCOPE) to who may not see the chip's
    statements.
    """
    if not redacted:
        require_chip(connection, viewer, ueid)
    return read_bundle(connection, ueid, redacted=redacted).encode()


class _Reader:
    def __init__(self, connection: Connection, ueid: bytes) -> None:
        self._connection = connection
        self._ueid = ueid
        self._kinds: dict[int, str] = {}
        self._signers: dict[bytes, bytes | None] = {}
        note = cosigned_checkpoint(connection)
        if note is None:
            raise Refused(Reason.LEDGER_EMPTY, "no checkpoint has been published yet")
        self._note = note
        self._size = Checkpoint.decode(parse_note(note).text).size
        self._root, message = self._document(self._size - 1, Kind.INDEX_ROOT)
        self._bits = message.body.bucket_bits
        _, message = self._document(0, Kind.GENESIS)
        self._genesis: st.Genesis = message.body

    def read(self, since: Sequence[int], redacted: bool) -> Bundle:
        chip = self._chain(SubjectKind.CHIP, self._ueid)
        party = self._genesis.authority.id.encode()
        authority = self._chain(SubjectKind.PARTY, party)
        referred: list[Chain] = []
        if redacted:
            chip, authority = self._redacted(chip), self._redacted(authority)
        else:
            referred = self._registrations([*chip, *authority])
            epochs = self._epochs(chip)
            if epochs:
                referred.append(Chain(SubjectKind.PARTY, st.LEDGER_PARTY.encode(), False, epochs))
        chains = [
            Chain(SubjectKind.CHIP, self._ueid, True, chip),
            Chain(SubjectKind.PARTY, party, True, authority),
            *referred,
        ]
        rows = MapRows(self._connection)
        trees = Trees(
            self._size,
            tile_nodes(stored_tiles(self._connection), self._size),
            self._bits,
            rows.get_buckets,
            map_nodes(rows.get_tiles, self._bits),
        )
        return build(self._ueid, self._note, chains, self._root, trees, since)

    def _redacted(self, entries: Sequence[Stored]) -> list[Stored]:
        """Entries without the statements that may be left out."""
        return [
            entry if self._kinds[entry.index] in KEPT else Stored(entry.index, entry.leaf, None)
            for entry in entries
        ]

    # -- what a life refers to ---------------------------------------------------------------

    def _registrations(self, entries: Iterable[Stored]) -> list[Chain]:
        """The first entry of each party and licence that is named, those that these name too."""
        founders = {founder.id for founder in self._founders()} | {st.LEDGER_PARTY}
        found: dict[tuple[SubjectKind, bytes], Chain] = {}
        waiting = [subject for entry in entries for subject in self._names(entry)]
        while waiting:
            kind, ident = subject = waiting.pop()
            if subject in found or (kind is SubjectKind.PARTY and ident.decode() in founders):
                continue
            first = self._chain(kind, ident, limit=1)
            if not first:
                raise IntegrityError(f"no registration of {kind.value} {ident.decode()} is stored")
            found[subject] = Chain(kind, ident, False, first)
            waiting += self._names(first[0])
        return [found[subject] for subject in sorted(found)]

    def _names(self, entry: Stored) -> list[tuple[SubjectKind, bytes]]:
        if entry.body is None or self._kinds.get(entry.index) == Kind.HEARTBEAT:
            return []
        message = _message(entry.index, entry.body)
        if message.kind is Kind.HEARTBEAT:
            return []
        named = [
            (kind, value.encode())
            for name, kind in _NAMED
            if (value := getattr(message.body, name, None)) is not None
        ]
        signer = self._signer(message.kid)
        return named if signer is None else [*named, (SubjectKind.PARTY, signer)]

    def _signer(self, kid: bytes) -> bytes | None:
        """The party whose key it is; None for a chip's, and for one that is not registered."""
        if kid not in self._signers:
            query = select(key_table.c.owner_kind, key_table.c.owner)
            owner = self._connection.execute(query.where(key_table.c.kid == kid)).first()
            if owner is not None and owner.owner_kind == SubjectKind.PARTY:
                self._signers[kid] = bytes(owner.owner)
            else:
                self._signers[kid] = None
        return self._signers[kid]

    def _founders(self) -> list[st.Founder]:
        genesis = self._genesis
        return [genesis.authority, genesis.verifier, *genesis.officers]

    def _epochs(self, chip: Sequence[Stored]) -> list[Stored]:
        """The ledger's epochs from the two before the chip's first report to its last report."""
        reports = [entry.index for entry in chip if self._kinds[entry.index] in _REPORTS]
        if not reports:
            return []
        numbers = document_table.c
        query = select(numbers.idx).where(numbers.kind == Kind.EPOCH.value)
        earlier = query.where(numbers.idx < reports[0]).order_by(numbers.idx.desc()).limit(2)
        before = self._connection.execute(earlier).scalars().all()
        if not before:
            raise IntegrityError(f"entry {reports[0]} is a report before the first epoch")
        key = subject_key(SubjectKind.PARTY, st.LEDGER_PARTY.encode())
        rows = self._connection.execute(
            select(*_COLUMNS)
            .join(link_table, link_table.c.idx == entry_table.c.idx)
            .where(
                link_table.c.subject == key,
                link_table.c.idx >= min(before),
                link_table.c.idx < reports[-1],
            )
            .order_by(link_table.c.seq)
        )
        return [_stored(row) for row in rows]

    # -- rows --------------------------------------------------------------------------------

    def _chain(self, kind: SubjectKind, ident: bytes, limit: int | None = None) -> list[Stored]:
        query = (
            select(*_COLUMNS, entry_table.c.kind)
            .join(link_table, link_table.c.idx == entry_table.c.idx)
            .where(link_table.c.subject == subject_key(kind, ident), link_table.c.idx < self._size)
            .order_by(link_table.c.seq)
            .limit(limit)
        )
        rows = self._connection.execute(query).all()
        self._kinds |= {row.idx: row.kind for row in rows}
        return [_stored(row) for row in rows]

    def _document(self, index: int, kind: Kind) -> tuple[Stored, st.Message]:
        query = select(*_COLUMNS, entry_table.c.kind).where(entry_table.c.idx == index)
        row = self._connection.execute(query).first()
        if row is None or row.body is None:
            raise IntegrityError(f"entry {index} is missing, or its statement is")
        if row.kind != kind:
            raise Refused(Reason.LEDGER_EMPTY, "no checkpoint with a heads map is published yet")
        return _stored(row), _message(index, row.body)


def _stored(row: Any) -> Stored:
    return Stored(row.idx, row.leaf, row.body)
