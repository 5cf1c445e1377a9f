"""The registry on top of the database: loads records on demand, writes changes back.

A ``StoreRegistry`` lives for one transaction. Keys never change hands, so their owners may be
remembered across transactions (``known_owners``).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from ledger.errors import IntegrityError, Refused
from ledger.protocol import cbor
from ledger.protocol import statements as st
from ledger.protocol.keys import PublicKey
from ledger.protocol.landmarks import LandmarkDirectory
from ledger.protocol.policy import Policy
from ledger.protocol.statements import Kind
from ledger.registry.records import Chip, ChipState, Licence, Owner, Party, Registry
from ledger.store.bulk import Row, insert_rows, update_rows
from ledger.store.log_rows import chunks, entry_table, update_head
from ledger.store.tables import ChipRow, DocumentRow, KeyRow, LicenceRow, PartyRow
from ledger.values import ZERO_DIGEST, SubjectKind, sha256

chip_table: Any = ChipRow.__table__  # type: ignore[attr-defined]
document_table: Any = DocumentRow.__table__  # type: ignore[attr-defined]
key_table: Any = KeyRow.__table__  # type: ignore[attr-defined]
licence_table: Any = LicenceRow.__table__  # type: ignore[attr-defined]
party_table: Any = PartyRow.__table__  # type: ignore[attr-defined]

MAX_INDEX = 2**62
_LIGHT = (
    "counter",
    "heartbeat_digest",
    "heartbeat_ms",
    "conflict_epoch",
    "conflicts",
    "forks",
)
"""What an ordinary heartbeat changes; none of these columns has an index."""
_HEAVY = (
    "holder",
    "state",
    "consignee",
    "shipped_ms",
    "shipped_licence",
    "country",
    "site",
    "latitude",
    "longitude",
    "licence",
    "over_quota",
    "retired",
    "decision_sequence",
    "decision_digest",
    "decision_action",
)
_FIXED = ("ueid", "oemid", "model", "manufacturer", "born_ms")
_CHIP_COLUMNS = (*_FIXED, *_LIGHT, *_HEAVY, "cose_key")


_CHIPS = select(chip_table).where(chip_table.c.ueid.in_(bindparam("keys", expanding=True)))
_KEYS = select(key_table).where(key_table.c.kid.in_(bindparam("keys", expanding=True)))


@dataclass(slots=True)
class Documents:
    """The newest genesis, policy, landmark directory and epochs.

    ``position``: the head row's ``documents``.
    """

    position: int = 0
    genesis: st.Genesis | None = None
    policy: Policy | None = None
    policy_digest: bytes = ZERO_DIGEST
    directory: LandmarkDirectory | None = None
    epochs: list[st.Epoch] = field(default_factory=list)

    def give(self, registry: Registry) -> None:
        """Put them into a registry."""
        registry.genesis, registry.policy = self.genesis, self.policy
        registry.policy_digest, registry.epochs = self.policy_digest, list(self.epochs)
        registry.directory = self.directory


class StoreRegistry(Registry):
    """Registry of one transaction; ``flush`` writes what has changed."""

    def __init__(
        self,
        connection: Connection,
        known_owners: dict[bytes, Owner] | None = None,
        documents: Documents | None = None,
        known_chips: dict[bytes, Chip] | None = None,
    ) -> None:
        """Without ``documents`` it has no genesis, policy or epochs: enough for look-ups.

        ``known_chips`` are records that the caller vouches for as of this transaction. They are
        changed in place: where the transaction fails, the caller has to forget them.
        """
        super().__init__()
        if documents is not None:
            documents.give(self)
        self._connection = connection
        self._known = {} if known_owners is None else known_owners
        self._known_chips = {} if known_chips is None else known_chips
        self._loaded_chips: dict[bytes, tuple[tuple[Any, ...], tuple[Any, ...]]] = {}
        self._loaded_parties: dict[str, tuple[int, int]] = {}
        self._loaded_licences: dict[str, dict[int, int]] = {}

    # -- look-ups ---------------------------------------------------------------------------

    def find_party(self, ident: str) -> Party | None:
        party = self.parties.get(ident)
        if party is None:
            row = self._one(party_table, party_table.c.id == ident)
            if row is not None:
                party = self.parties[ident] = party_from(row)
                self._loaded_parties[ident] = (party.conflict_epoch, party.conflicts)
        return party

    def find_licence(self, ident: str) -> Licence | None:
        licence = self.licences.get(ident)
        if licence is None:
            row = self._one(licence_table, licence_table.c.id == ident)
            if row is not None:
                licence = self.licences[ident] = licence_from(row)
                self._loaded_licences[ident] = dict(licence.used)
        return licence

    def find_chip(self, ueid: bytes) -> Chip | None:
        chip = self.chips.get(ueid)
        if chip is None:
            self.load_chips([ueid])
            chip = self.chips.get(ueid)
        return chip

    def find_owner(self, kid: bytes) -> Owner | None:
        owner = self.owners.get(kid) or self._known.get(kid)
        if owner is None:
            self.load_owners([kid])
            owner = self._known.get(kid)
        return owner

    def load_chips(self, ueids: Iterable[bytes]) -> None:
        """Load many chips in a few queries."""
        wanted = []
        for ueid in dict.fromkeys(ueids):
            if ueid not in self.chips:
                known = self._known_chips.get(ueid)
                if known is None:
                    wanted.append(ueid)
                else:
                    self._take(known)
        for part in chunks(wanted):
            for row in self._connection.execute(_CHIPS, {"keys": part}).mappings():
                self._take(chip_from(row))

    def _take(self, chip: Chip) -> None:
        self.chips[chip.ueid] = chip
        self._loaded_chips[chip.ueid] = _snapshot(chip)

    def load_owners(self, kids: Iterable[bytes]) -> None:
        """Load the owners of many keys in a few queries."""
        wanted = [kid for kid in dict.fromkeys(kids) if kid not in self._known]
        for part in chunks(wanted):
            for row in self._connection.execute(_KEYS, {"keys": part}).mappings():
                self._known[row["kid"]] = _owner_from(row)

    def _one(self, table: Any, condition: Any) -> Any:
        return self._connection.execute(select(table).where(condition)).mappings().first()

    # -- writing ----------------------------------------------------------------------------

    def note_document(self, kind: Kind, number: int, index: int) -> None:
        """Remember where a genesis, policy or epoch stands in the log."""
        row = {"kind": kind.value, "number": number, "idx": index}
        self._connection.execute(insert(document_table), [row])
        update_head(self._connection, documents=index + 1)

    def flush(self) -> None:
        """Write new and changed records. The caller commits."""
        self._flush_keys()
        self._flush_parties()
        self._flush_licences()
        self._flush_chips()

    def _flush_keys(self) -> None:
        rows = [
            {
                "kid": kid,
                "owner_kind": owner.kind.value,
                "owner": owner.ident,
                "cose_key": owner.key.to_cose_key(),
            }
            for kid, owner in self.owners.items()
        ]
        if rows:
            self._connection.execute(insert(key_table), rows)

    def _flush_parties(self) -> None:
        for ident, party in self.parties.items():
            before = self._loaded_parties.get(ident)
            tally = (party.conflict_epoch, party.conflicts)
            if before is None:
                self._connection.execute(insert(party_table), [party_row(party)])
            elif before != tally:
                self._connection.execute(
                    update(party_table)
                    .where(party_table.c.id == ident)
                    .values(conflict_epoch=tally[0], conflicts=tally[1])
                )

    def _flush_licences(self) -> None:
        for ident, licence in self.licences.items():
            before = self._loaded_licences.get(ident)
            if before is None:
                self._connection.execute(insert(licence_table), [licence_row(licence)])
            elif before != licence.used:
                self._connection.execute(
                    update(licence_table)
                    .where(licence_table.c.id == ident)
                    .values(used=cbor.encode(licence.used))
                )

    def _flush_chips(self) -> None:
        fresh: list[Row] = []
        light: list[Row] = []
        heavy: list[Row] = []
        for ueid, chip in self.chips.items():
            before = self._loaded_chips.get(ueid)
            if before is None:
                fresh.append(tuple(chip_row(chip)[name] for name in _CHIP_COLUMNS))
                continue
            after = _snapshot(chip)
            if before[1] != after[1]:
                heavy.append((*after[0], *after[1], ueid))
            elif before[0] != after[0]:
                light.append((*after[0], ueid))
        insert_rows(self._connection, chip_table, _CHIP_COLUMNS, fresh)
        update_rows(self._connection, chip_table, _LIGHT, "ueid", light)
        update_rows(self._connection, chip_table, _LIGHT + _HEAVY, "ueid", heavy)


_DOCUMENTS = (
    (Kind.GENESIS, 1),
    (Kind.POLICY, 1),
    (Kind.LANDMARK_DIRECTORY, 1),
    (Kind.EPOCH, 2),
)


def load_documents(connection: Connection, before: int = MAX_INDEX) -> Documents:
    """Genesis, policy and landmark directory in force and the two newest epochs.

    All of them among the entries below ``before``.
    """
    found = Documents()
    for kind, limit in _DOCUMENTS:
        query = (
            select(entry_table.c.body, document_table.c.idx)
            .join(document_table, document_table.c.idx == entry_table.c.idx)
            .where(document_table.c.kind == kind.value, document_table.c.idx < before)
            .order_by(document_table.c.number.desc())
            .limit(limit)
        )
        for body, index in reversed(connection.execute(query).all()):
            value: Any = decode_document(body)
            found.position = max(found.position, index + 1)
            if kind is Kind.GENESIS:
                found.genesis = value
            elif kind is Kind.POLICY:
                found.policy, found.policy_digest = value, sha256(body)
            elif kind is Kind.LANDMARK_DIRECTORY:
                found.directory = value
            else:
                found.epochs.append(value)
    return found


def document_entry(connection: Connection, kind: Kind) -> tuple[int, bytes] | None:
    """(index, token) of the newest genesis, policy, landmark directory or epoch."""
    query = (
        select(document_table.c.idx, entry_table.c.body)
        .join(entry_table, entry_table.c.idx == document_table.c.idx)
        .where(document_table.c.kind == kind.value)
        .order_by(document_table.c.number.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else (row[0], row[1])


@lru_cache(maxsize=64)
def decode_document(token: bytes) -> st.Genesis | Policy | LandmarkDirectory | st.Epoch:
    """Body of a stored statement that is looked up by its number; remembered by its bytes."""
    with readable("genesis, policy, directory or epoch"):
        body: st.Genesis | Policy | LandmarkDirectory | st.Epoch = st.decode(token).body
    return body


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Around reading a stored value: what cannot be read is damage, never the caller's fault."""
    try:
        yield
    except (Refused, ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"a stored {what} is damaged: {error}") from error


def _owner_from(row: Any) -> Owner:
    with readable("key"):
        key = PublicKey.from_cose_key(row["cose_key"])
        return Owner(SubjectKind(row["owner_kind"]), row["owner"], key)


def chip_from(row: Any) -> Chip:
    """Domain value of a chip row."""
    with readable("chip"):
        values = {name: row[name] for name in (*_FIXED, *_LIGHT, *_HEAVY)}
        values["state"] = ChipState(row["state"])
        return Chip(key=_public_key(row["cose_key"]), **values)


@lru_cache(maxsize=16_384)
def _public_key(cose_key: bytes) -> PublicKey:
    return PublicKey.from_cose_key(cose_key)


def chip_row(chip: Chip) -> dict[str, Any]:
    """Row of a chip."""
    values = {name: getattr(chip, name) for name in (*_FIXED, *_LIGHT, *_HEAVY)}
    values["state"] = chip.state.value
    values["cose_key"] = chip.key.to_cose_key()
    return values


def party_from(row: Any) -> Party:
    """Domain value of a party row."""
    with readable("party"):
        key = PublicKey.from_cose_key(row["cose_key"])
    return Party(
        row["id"],
        row["name"],
        frozenset(row["roles"].split()),
        row["country"],
        key,
        row["parent"],
        row["root_certificate"],
        row["conflict_epoch"],
        row["conflicts"],
    )


def party_row(party: Party) -> dict[str, Any]:
    """Row of a party."""
    return {
        "id": party.id,
        "name": party.name,
        "roles": " ".join(sorted(party.roles)),
        "country": party.country,
        "cose_key": party.key.to_cose_key(),
        "parent": party.parent,
        "root_certificate": party.root_certificate,
        "conflict_epoch": party.conflict_epoch,
        "conflicts": party.conflicts,
    }


def licence_from(row: Any) -> Licence:
    """Domain value of a licence row."""
    with readable("licence"):
        body: Any = st.decode_body(Kind.LICENCE, row["body"])
    return Licence(body, tally_from(row["used"]))


def tally_from(data: bytes) -> dict[int, int]:
    """How many chips found a place in a licence's quota, by year."""
    with readable("tally of a licence"):
        return dict(cbor.decode(data, max_size=4_096))


def licence_row(licence: Licence) -> dict[str, Any]:
    """Row of a licence."""
    return {
        "id": licence.body.id,
        "body": st.encode_body(licence.body),
        "used": cbor.encode(licence.used),
    }


def _snapshot(chip: Chip) -> tuple[Row, Row]:
    """Plain values of the columns that change: the light ones, the others."""
    return _light_values(chip), _heavy_values(chip)


_light_values = attrgetter(*_LIGHT)
_heavy_attributes = attrgetter(*_HEAVY)
_STATE = _HEAVY.index("state")


def _heavy_values(chip: Chip) -> Row:
    values = list(_heavy_attributes(chip))
    values[_STATE] = chip.state.value
    return tuple(values)
