"""Reading the record: a chip's custody history, decisions, tiles and entry bundles."""

from typing import Any

from sqlalchemy import Connection, select

from ledger.errors import IntegrityError, Reason, Refused
from ledger.log.tiles import ENTRIES, TILE_WIDTH, entry_bundle_encode, parse_tile_path
from ledger.passport.words import describe
from ledger.protocol import statements as st
from ledger.registry.records import Registry, chip_subject
from ledger.service.access import require_chip, require_known
from ledger.service.sequence import decision_table
from ledger.service.viewer import OPEN, Viewer
from ledger.service.views import Page
from ledger.store.log_rows import entry_table, link_table, tile_table
from ledger.store.registry_rows import StoreRegistry, chip_table
from ledger.values import subject_key

WITHHELD = "statement withheld"


def history(
    connection: Connection, ueid: bytes, after: int | None, limit: int, *, viewer: Viewer = OPEN
) -> Page:
    """A chip's entries in order, from the one behind sequence number ``after``.

    Refused: CHIP_UNKNOWN; TOKEN_REQUIRED or TOKEN_SCOPE for who may not see them.
    """
    registry = StoreRegistry(connection)
    require_known(viewer)
    registry.chip(ueid)
    require_chip(connection, viewer, ueid)
    query = (
        select(
            link_table.c.seq,
            entry_table.c.idx,
            entry_table.c.leaf_hash,
            entry_table.c.leaf,
            entry_table.c.received_ms,
            entry_table.c.kind,
            entry_table.c.body,
            entry_table.c.conflict,
            entry_table.c.detail,
        )
        .join(entry_table, entry_table.c.idx == link_table.c.idx)
        .where(
            link_table.c.subject == subject_key(*chip_subject(ueid)),
            link_table.c.seq > (-1 if after is None else after),
        )
        .order_by(link_table.c.seq)
        .limit(limit + 1)
    )
    rows = connection.execute(query).mappings().all()
    items = [_history_item(registry, row) for row in rows[:limit]]
    return Page(items, str(items[-1]["seq"]) if len(rows) > limit else None)


def _history_item(registry: Registry, row: Any) -> dict[str, Any]:
    signer, meaning = None, WITHHELD
    if row["body"] is not None:
        message = stored_message(row["idx"], row["body"])
        signer = signer_name(registry, message)
        meaning = describe(
            message.kind, message.body, conflict=row["conflict"], detail=row["detail"] or ""
        )
    return {
        "index": row["idx"],
        "seq": row["seq"],
        "leaf_hash": row["leaf_hash"].hex(),
        "received_ms": row["received_ms"],
        "kind": row["kind"],
        "signer": signer,
        "meaning": meaning,
        "reason": row["conflict"],
        "statement_digest": row["leaf"][-32:].hex(),
    }


def stored_message(index: int, body: bytes) -> st.Message:
    """Decode what was once admitted; a failure means that the database is damaged."""
    try:
        return st.decode(body)
    except Refused as error:
        raise IntegrityError(f"entry {index}: the stored statement is damaged: {error}") from error


def signer_name(registry: Registry, message: st.Message) -> str:
    """Id of the party that signed, or "chip" for a heartbeat."""
    if message.kind is st.Kind.HEARTBEAT:
        return "chip"
    if message.kind is st.Kind.GENESIS:
        return str(message.body.authority.id)
    owner = registry.find_owner(message.kid)
    return "unknown" if owner is None else owner.ident.decode("ascii", "replace")


def decisions(
    connection: Connection,
    ueid: bytes | None,
    action: str | None,
    after: int | None,
    limit: int,
    *,
    viewer: Viewer = OPEN,
) -> Page:
    """Decisions in the log's order, of one chip or all, of one action or all.

    A holder gets those about the chips that it holds now, and is refused (TOKEN_SCOPE) another's.
    """
    registry = StoreRegistry(connection)
    require_known(viewer)
    query = (
        select(
            decision_table.c.idx,
            entry_table.c.received_ms,
            entry_table.c.leaf_hash,
            entry_table.c.body,
        )
        .join(entry_table, entry_table.c.idx == decision_table.c.idx)
        .where(decision_table.c.idx > (-1 if after is None else after))
        .order_by(decision_table.c.idx)
        .limit(limit + 1)
    )
    if ueid is not None:
        registry.chip(ueid)
        require_chip(connection, viewer, ueid)
        query = query.where(decision_table.c.ueid == ueid)
    elif not viewer.sees_everything:
        held = select(chip_table.c.ueid).where(chip_table.c.holder == viewer.party)
        query = query.where(decision_table.c.ueid.in_(held))
    if action is not None:
        query = query.where(decision_table.c.action == action)
    rows = connection.execute(query).mappings().all()
    items = [decision_item(registry, row) for row in rows[:limit]]
    return Page(items, str(items[-1]["index"]) if len(rows) > limit else None)


def decision_item(registry: Registry, row: Any) -> dict[str, Any]:
    """A decision entry as JSON."""
    message = stored_message(row["idx"], row["body"])
    body: st.Decision = message.body
    return {
        "index": row["idx"],
        "received_ms": row["received_ms"],
        "leaf_hash": row["leaf_hash"].hex(),
        "signer": signer_name(registry, message),
        "action": body.action,
        "ueid": body.ueid.hex(),
        "sequence": body.sequence,
        "rules": list(body.rules),
        "reasons": list(body.reasons),
        "evidence": [digest.hex() for digest in body.evidence],
        "policy": body.policy.hex(),
        "issued_ms": body.issued_ms,
        "effective_ms": body.effective_ms,
        "expires_ms": body.expires_ms,
        "appeal": body.appeal,
        "digest": message.digest.hex(),
    }


def tile(connection: Connection, path: str, published_size: int) -> bytes:
    """Bytes of a tile or entry bundle by its path behind ``/log/tile/``.

    Only what the published checkpoint covers is served: a tile that grew since then is cut.
    """
    level, n, width = parse_tile_path(f"tile/{path}")
    below = published_size if level == ENTRIES else published_size >> (8 * level)
    if n * TILE_WIDTH + width > below:
        raise Refused(Reason.TILE_UNKNOWN, f"the checkpoint of {published_size} has no such tile")
    if level == ENTRIES:
        first = n * TILE_WIDTH
        query = (
            select(entry_table.c.idx, entry_table.c.leaf)
            .where(entry_table.c.idx >= first, entry_table.c.idx < first + width)
            .order_by(entry_table.c.idx)
        )
        rows = connection.execute(query).all()
        for expected, (index, _) in enumerate(rows, first):
            if index != expected:
                raise IntegrityError(f"entry {expected} is missing")
        if len(rows) != width:
            raise IntegrityError(f"entry {first + len(rows)} is missing")
        return entry_bundle_encode([leaf for _, leaf in rows])
    row_query = select(tile_table.c.data).where(tile_table.c.level == level, tile_table.c.n == n)
    data: bytes | None = connection.execute(row_query).scalar()
    if data is None or len(data) < width * 32:
        raise IntegrityError(f"tile {level}/{n} is missing or too short")
    return data[: width * 32]
