"""Receipts and refusals as the JSON of an answer. On the hot path, so without models."""

import json
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from api import problems
from ledger.errors import REASONS, Refused
from ledger.service.views import Directive, Lease, Receipt

Outcome = Receipt | Refused

ACCEPTED, RECORDED, REFUSED = "accepted", "recorded", "refused"


def status_of(outcome: Outcome) -> str:
    """``accepted``; ``recorded`` as a conflict; or ``refused`` and not kept."""
    if isinstance(outcome, Refused):
        return REFUSED
    return ACCEPTED if outcome.conflict is None else RECORDED


def result(outcome: Outcome) -> dict[str, Any]:
    """One result, every member present (``schemas.Result``)."""
    if isinstance(outcome, Refused):
        return {
            "status": REFUSED,
            "kind": None,
            "index": None,
            "leaf_hash": None,
            "received_ms": None,
            "reason": outcome.reason.value,
            "detail": outcome.detail,
            "field": outcome.field,
            "remedy": REASONS[outcome.reason].remedy,
            "lease": None,
            "directive": None,
        }
    conflict = outcome.conflict
    return {
        "status": ACCEPTED if conflict is None else RECORDED,
        "kind": outcome.kind.value,
        "index": outcome.index,
        "leaf_hash": outcome.leaf_hash.hex(),
        "received_ms": outcome.received_ms,
        "reason": None if conflict is None else conflict.value,
        "detail": outcome.detail or None,
        "field": None,
        "remedy": None if conflict is None else REASONS[conflict].remedy,
        "lease": _lease(outcome.lease),
        "directive": _directive(outcome.directive),
    }


def problem(outcome: Outcome, instance: str) -> dict[str, Any] | None:
    """The problem document of what was not accepted; None for what was."""
    if isinstance(outcome, Refused):
        return problems.document(outcome.reason, outcome.detail, instance, field=outcome.field)
    if outcome.conflict is None:
        return None
    document = problems.document(
        outcome.conflict,
        outcome.detail,
        instance,
        kind=outcome.kind.value,
        index=outcome.index,
        leaf_hash=outcome.leaf_hash.hex(),
        received_ms=outcome.received_ms,
        lease=_lease(outcome.lease),
        directive=_directive(outcome.directive),
    )
    document["status"] = int(problems.RECORDED_STATUS)
    return document


def batch(outcomes: Sequence[Outcome], instance: str) -> tuple[int, str, bytes]:
    """Status, media type and body of the answer to a batch of at least one.

    200 when all were accepted; 207 when some were; else the first one's problem, with the
    results of all.
    """
    counts = Counter(map(status_of, outcomes))
    accepted = counts[ACCEPTED]
    summary = {"accepted": accepted, "recorded": counts[RECORDED], "refused": counts[REFUSED]}
    results = ",".join(map(_text, outcomes))
    if accepted:
        status = HTTPStatus.OK if accepted == len(outcomes) else HTTPStatus.MULTI_STATUS
        return int(status), "application/json", _with_results(summary, results)
    first = problem(outcomes[0], instance)
    assert first is not None  # noqa: S101  (none was accepted)
    return first["status"], problems.MEDIA_TYPE, _with_results({**first, **summary}, results)


def _with_results(members: dict[str, Any], results: str) -> bytes:
    return dump(members)[:-1] + f',"results":[{results}]}}'.encode()


def _text(outcome: Outcome) -> str:
    """JSON text of one result; the common case without the detour over a dict and an encoder."""
    if isinstance(outcome, Refused) or outcome.conflict is not None or outcome.detail:
        return json.dumps(result(outcome), separators=(",", ":"))
    lease, directive = outcome.lease, outcome.directive
    permission = "null" if lease is None else _lease_text(lease.id, lease.until_ms)
    decision = "null" if directive is None else json.dumps(_directive(directive))
    return (
        f'{{"status":"accepted","kind":"{outcome.kind.value}","index":{outcome.index},'
        f'"leaf_hash":"{outcome.leaf_hash.hex()}","received_ms":{outcome.received_ms},'
        f'"reason":null,"detail":null,"field":null,"remedy":null,'
        f'"lease":{permission},"directive":{decision}}}'
    )


def _lease_text(ident: bytes, until_ms: int) -> str:
    return f'{{"id":"{ident.hex()}","until_ms":{until_ms}}}'


def dump(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def _lease(lease: Lease | None) -> dict[str, Any] | None:
    return None if lease is None else {"id": lease.id.hex(), "until_ms": lease.until_ms}


def _directive(directive: Directive | None) -> dict[str, Any] | None:
    if directive is None:
        return None
    return {
        "sequence": directive.sequence,
        "action": directive.action,
        "digest": directive.digest.hex(),
    }
