"""Passports: what the ledger knows of a chip at present, as JSON."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from ledger.appraisal.case import Case
from ledger.protocol import statements as st
from ledger.registry.records import Chip, ChipState, Registry, chip_subject
from ledger.service.access import require_known
from ledger.service.flags import flag_reasons
from ledger.service.history import decision_item
from ledger.service.sequence import decision_table
from ledger.service.viewer import OPEN, Viewer
from ledger.service.views import Page, PassportFilter
from ledger.store.case_rows import load_cases
from ledger.store.log_rows import chunks, entry_table, subject_table
from ledger.store.registry_rows import StoreRegistry, chip_from, chip_table
from ledger.values import subject_key


def passports(
    connection: Connection,
    wanted: PassportFilter,
    after: bytes | None,
    limit: int,
    live: dict[bytes, Case] | None = None,
    *,
    viewer: Viewer = OPEN,
) -> Page:
    """Passports in order of UEID. ``live`` are the running verifier's cases, where there is one.

    A holder gets those of the chips that it holds now; Refused (TOKEN_REQUIRED) for the public.
    """
    require_known(viewer)
    if not viewer.sees_everything:
        if viewer.party is None or wanted.holder not in (None, viewer.party):
            return Page()
        wanted = replace(wanted, holder=viewer.party)
    query = select(chip_table).order_by(chip_table.c.ueid).limit(limit + 1)
    for name in ("state", "holder", "country", "model"):
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(chip_table.c[name] == value)
    if after is not None:
        query = query.where(chip_table.c.ueid > after)
    rows = connection.execute(query).mappings().all()
    chips = [chip_from(row) for row in rows[:limit]]
    items = _items(connection, chips, live)
    return Page(items, chips[-1].ueid.hex() if len(rows) > limit else None)


def passport(
    connection: Connection,
    ueid: bytes,
    live: dict[bytes, Case] | None = None,
    *,
    viewer: Viewer = OPEN,
) -> dict[str, Any]:
    """One chip's passport, in short for whoever may not see all of it; refuses an unknown UEID."""
    chip = StoreRegistry(connection).chip(ueid)
    if not viewer.sees_chips_of(chip.holder):
        return _short(chip)
    return _items(connection, [chip], live)[0]


def _short(chip: Chip) -> dict[str, Any]:
    """What anybody may know who knows the UEID: what it is, and whether it may go on."""
    return {
        "ueid": chip.ueid.hex(),
        "model": chip.model,
        "manufacturer": chip.manufacturer,
        "state": chip.state.value,
    }


def _items(
    connection: Connection, chips: list[Chip], live: dict[bytes, Case] | None
) -> list[dict[str, Any]]:
    registry = StoreRegistry(connection)
    ueids = [chip.ueid for chip in chips]
    cases = load_cases(connection, ueids) if live is None else live
    counts = _entry_counts(connection, ueids)
    open_decisions = _open_decisions(connection, registry, chips)
    return [
        _item(
            registry,
            chip,
            cases.get(chip.ueid),
            flag_reasons(connection, registry, chip.ueid, cases.get(chip.ueid)),
            counts.get(chip.ueid, 0),
            open_decisions.get(chip.ueid, []),
        )
        for chip in chips
    ]


def _item(
    registry: Registry,
    chip: Chip,
    case: Case | None,
    reasons: list[dict[str, Any]],
    entries: int,
    decisions: list[dict[str, Any]],
) -> dict[str, Any]:
    heartbeat = None
    if chip.counter:
        heartbeat = {"counter": chip.counter, "received_ms": chip.heartbeat_ms}
    return {
        "ueid": chip.ueid.hex(),
        "model": chip.model,
        "oemid": chip.oemid,
        "manufacturer": chip.manufacturer,
        "key": chip.key.thumbprint.hex(),
        "born_ms": chip.born_ms,
        "holder": _party(registry, chip.holder),
        "in_transit_to": chip.consignee,
        "licence": _licence(registry, chip),
        "place": {
            "country": chip.country,
            "site": chip.site,
            "latitude": chip.latitude,
            "longitude": chip.longitude,
            "claimed": _claim(case),
        },
        "state": chip.state.value,
        "flags": [] if case is None else case.flags,
        "flag_reasons": reasons,
        "last_heartbeat": heartbeat,
        "open_decisions": decisions,
        "conflicts": chip.forks,
        "entries": entries,
    }


def _party(registry: Registry, ident: str) -> dict[str, Any]:
    party = registry.find_party(ident)
    return {
        "id": ident,
        "name": None if party is None else party.name,
        "country": None if party is None else party.country,
    }


def _licence(registry: Registry, chip: Chip) -> dict[str, Any] | None:
    licence = None if chip.licence is None else registry.find_licence(chip.licence)
    if licence is None:
        return None
    body: st.Licence = licence.body
    return {
        "id": body.id,
        "holder": body.holder,
        "countries": list(body.countries),
        "models": list(body.models),
        "not_before": body.not_before,
        "not_after": body.not_after,
        "quota_per_year": body.quota_per_year,
        "over_quota": chip.over_quota,
        "assurance": body.assurance,
    }


def _claim(case: Case | None) -> dict[str, Any] | None:
    if case is None or case.seen is None:
        return None
    seen = case.seen
    return {
        "latitude": seen.latitude,
        "longitude": seen.longitude,
        "accuracy_m": seen.accuracy_m,
        "countries": list(seen.countries),
        "at_ms": seen.iat * 1000,
    }


def _entry_counts(connection: Connection, ueids: list[bytes]) -> dict[bytes, int]:
    keys = {subject_key(*chip_subject(ueid)): ueid for ueid in ueids}
    found = {}
    for part in chunks(list(keys)):
        query = select(subject_table.c.subject, subject_table.c["count"]).where(
            subject_table.c.subject.in_(part)
        )
        for subject, count in connection.execute(query):
            found[keys[subject]] = count
    return found


def _open_decisions(
    connection: Connection, registry: Registry, chips: list[Chip]
) -> dict[bytes, list[dict[str, Any]]]:
    """The hold or revocation that a chip stands under at present."""
    ueids = [c.ueid for c in chips if c.state in (ChipState.HELD, ChipState.REVOKED)]
    latest: dict[bytes, list[dict[str, Any]]] = {}
    for part in chunks(ueids):
        query = (
            select(
                decision_table.c.idx,
                entry_table.c.received_ms,
                entry_table.c.leaf_hash,
                entry_table.c.body,
            )
            .join(entry_table, entry_table.c.idx == decision_table.c.idx)
            .where(decision_table.c.ueid.in_(part))
            .order_by(decision_table.c.idx)
        )
        for row in connection.execute(query).mappings():
            item = decision_item(registry, row)
            latest[bytes.fromhex(item["ueid"])] = [item]
    return latest
