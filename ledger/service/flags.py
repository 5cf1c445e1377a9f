"""Why a chip's flags are set, and by whom, for whoever reads its passport.

A flag is no verdict. Above all ``suspect`` may come from another party, who files papers about a
chip that is not its own; so its author is always named.
"""

from typing import Any

from sqlalchemy import Connection, select

from ledger.appraisal.case import Case
from ledger.errors import Reason
from ledger.passport.words import contradicted, moment, reasons_once
from ledger.protocol import statements as st
from ledger.registry.records import Registry, chip_subject
from ledger.service.history import signer_name, stored_message
from ledger.store.log_rows import entry_table, link_table
from ledger.values import subject_key

OWN_CONFLICTS = (Reason.COUNTER_ROLLBACK.value, Reason.HEARTBEAT_FORK.value)
"""Conflicts that only a chip's own key can sign."""
VERIFIER = "verifier"


def flag_reasons(
    connection: Connection, registry: Registry, ueid: bytes, case: Case | None
) -> list[dict[str, Any]]:
    """``{"flag", "author", "words", "index"}`` for each flag that is set, JSON-ready.

    ``author`` is the party that filed the paper, or "verifier" where the chip's own heartbeats
    (or their absence) are the reason; then ``index`` is None. Failures of the chip itself come
    first, and where there are any nobody else's papers are named: those may have been cleared.
    """
    found: list[dict[str, Any]] = []
    if case is None:
        return found
    if case.silent:
        found.append(_by_verifier("silent", f"no heartbeat since {moment(case.expected_since_ms)}"))
    if case.suspect and case.failures:
        for rule, count in sorted(case.failures.items()):
            times = f" ({count} times)" if count > 1 else ""
            (words,) = reasons_once((rule,), (f"{rule}: {case.words[rule]}",))
            found.append(_by_verifier("suspect", f"{words}{times}"))
    elif case.suspect:
        found.append(_by_others(connection, registry, ueid))
    return found


def _by_verifier(flag: str, words: str) -> dict[str, Any]:
    return {"flag": flag, "author": VERIFIER, "words": words, "index": None}


def _by_others(connection: Connection, registry: Registry, ueid: bytes) -> dict[str, Any]:
    """The newest contradiction that somebody else put on record."""
    query = (
        select(entry_table.c.idx, entry_table.c.body, entry_table.c.conflict, entry_table.c.detail)
        .join(link_table, entry_table.c.idx == link_table.c.idx)
        .where(
            link_table.c.subject == subject_key(*chip_subject(ueid)),
            entry_table.c.conflict.is_not(None),
            entry_table.c.conflict.not_in(OWN_CONFLICTS),
        )
        .order_by(link_table.c.seq.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
    author, index = None, None
    words = "another party contradicted the record; no finding about the chip"
    if row is not None:
        index = row["idx"]
    if row is not None and row["body"] is not None:
        message: st.Message = stored_message(row["idx"], row["body"])
        author = signer_name(registry, message)
        named = row["detail"] == f"chip {ueid.hex()}"
        words = contradicted(message.kind, Reason(row["conflict"]), author, this_chip=named)
    return {"flag": "suspect", "author": author, "words": words, "index": index}
