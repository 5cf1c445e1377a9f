"""POST /v1/heartbeats and POST /v1/statements: the hot path, as plain Starlette routes."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import outcomes, problems
from api.batching import Batcher, Submit
from api.context import Context
from api.media import CBOR_SEQ, COSE, Uploads, content_type
from api.outcomes import Outcome
from api.settings import MAX_BATCH_BYTES, MAX_BATCH_ITEMS
from ledger.errors import Reason, Refused
from ledger.protocol import cbor, cose
from ledger.protocol.heartbeat import MAX_HEARTBEAT_BYTES, TYP
from ledger.protocol.statements import MAX_STATEMENT_BYTES, Kind


@dataclass(frozen=True, slots=True)
class Workers:
    """Threads for ingest: single posts never wait behind a batch that is being read."""

    singles: Executor
    batches: Executor


@dataclass(frozen=True, slots=True)
class Intake:
    """One ingest route's way to the ledger. Blocking; runs in worker threads."""

    context: Context
    path: str
    heartbeats: bool

    @property
    def max_token(self) -> int:
        """Largest single message in bytes."""
        return MAX_HEARTBEAT_BYTES if self.heartbeats else MAX_STATEMENT_BYTES

    def submit(self, tokens: Sequence[bytes]) -> list[Outcome]:
        """One durable write of all tokens that the route takes; order kept."""
        node = self.context.node
        if self.heartbeats:
            found = node.submit(tokens, Kind.HEARTBEAT)
        else:
            found = _statements(tokens, node.submit)
        self.context.metrics.count(self.path, found)
        return found

    def batch(self, body: bytes) -> tuple[int, str, bytes]:
        """Status, media type and body of the answer to a CBOR sequence."""
        # An item over the limit of its kind is refused by itself, so the slices may be longer.
        tokens = cbor.split_sequence(body, max_items=MAX_BATCH_ITEMS, max_item_size=MAX_BATCH_BYTES)
        return outcomes.batch(self.submit(tokens), self.path)


def _statements(tokens: Sequence[bytes], submit: Submit) -> list[Outcome]:
    """Submit all but heartbeats, which have a route of their own, and keep the order."""
    refusals = {at: refusal for at, token in enumerate(tokens) if (refusal := _misplaced(token))}
    rest = [token for at, token in enumerate(tokens) if at not in refusals]
    found = iter(submit(rest) if rest else ())
    return [refusals.get(at) or next(found) for at in range(len(tokens))]


def _misplaced(token: bytes) -> Refused | None:
    """The refusal of a heartbeat; whatever else is wrong with a token, the ledger says."""
    try:
        typ = cose.decode_sign1(token, max_size=MAX_HEARTBEAT_BYTES).typ
    except Refused:
        return None
    if typ != TYP:
        return None
    return Refused(Reason.COSE_TYPE, "heartbeats go to POST /v1/heartbeats", field="typ")


def routes(context: Context, workers: Workers) -> list[Route]:
    """The two routes, sharing one bound on the bytes they hold."""
    uploads = Uploads(
        max_held=context.settings.max_buffered_bytes, timeout_s=context.settings.upload_timeout_s
    )
    intakes = (
        Intake(context, "/v1/heartbeats", heartbeats=True),
        Intake(context, "/v1/statements", heartbeats=False),
    )
    return [_route(intake, uploads, workers) for intake in intakes]


def _route(intake: Intake, uploads: Uploads, workers: Workers) -> Route:
    settings, metrics = intake.context.settings, intake.context.metrics
    singles = Batcher(intake.submit, workers.singles, max_group=settings.max_group)
    metrics.watch_queue(lambda: singles.depth)
    single_seconds = metrics.latency.labels(intake.path, COSE)
    batch_seconds = metrics.latency.labels(intake.path, CBOR_SEQ)

    async def post(request: Request) -> Response:
        if content_type(request, (COSE, CBOR_SEQ)) == COSE:
            async with uploads.body(request, intake.max_token) as token:
                started = time.perf_counter()
                answer = _single(await singles.post(token), intake.path)
                single_seconds.observe(time.perf_counter() - started)
                return answer
        async with uploads.body(request, MAX_BATCH_BYTES) as body:
            started = time.perf_counter()
            loop = asyncio.get_running_loop()
            status, media, content = await loop.run_in_executor(workers.batches, intake.batch, body)
            batch_seconds.observe(time.perf_counter() - started)
            return Response(content, status_code=status, media_type=media, headers=_UNCACHED)

    return Route(intake.path, post, methods=["POST"])


_UNCACHED = {"Cache-Control": "no-store"}


def _single(outcome: Outcome, path: str) -> Response:
    problem = outcomes.problem(outcome, path)
    if problem is not None:
        return problems.response(problem)
    return Response(
        outcomes.dump(outcomes.result(outcome)),
        status_code=201,
        media_type="application/json",
        headers=_UNCACHED,
    )
