"""Statements in the order of the log, for whoever replays it: each as far as the asker may see."""

from typing import Any

from sqlalchemy import Connection, select

from ledger.errors import IntegrityError
from ledger.protocol.entries import MAX_ANSWER_BYTES
from ledger.protocol.statements import Kind
from ledger.service.viewer import Viewer
from ledger.store.log_rows import entry_table


def statements(
    connection: Connection, start: int, limit: int, published_size: int, viewer: Viewer
) -> list[bytes | None]:
    """Statements of the entries from ``start``, at most ``limit`` and none that is unpublished.

    None stands for one that the viewer may not see, or that is withheld. Fewer come where they
    reach ``MAX_ANSWER_BYTES``; at least one does where there is one. A conflict is not shown by the
    kind that it would have had: only to who sees everything.
    """
    end = min(start + limit, published_size)
    query = (
        select(entry_table.c.idx, entry_table.c.kind, entry_table.c.body)
        .where(entry_table.c.idx >= start, entry_table.c.idx < end)
        .order_by(entry_table.c.idx)
    )
    found: list[bytes | None] = []
    size = 0
    # Row by row: a page of the largest statements would be read whole to be cut.
    result: Any = connection.execute(query.execution_options(yield_per=100))
    for expected, (index, kind, body) in enumerate(result, start):
        if index != expected:
            raise IntegrityError(f"entry {expected} is missing")
        shown = bytes(body) if body is not None and viewer.sees_kind(Kind(kind)) else None
        found.append(shown)
        size += 1 if shown is None else len(shown)
        if size >= MAX_ANSWER_BYTES:
            break
    else:
        if len(found) < end - start:
            raise IntegrityError(f"entry {start + len(found)} is missing")
    return found
