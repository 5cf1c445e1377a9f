"""Group commit: single posts that wait at the same time share one durable write.

A post that finds nothing running is submitted at once, so an idle service adds no delay. While
that write runs, the next group collects; the busier the service, the larger the groups.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from api.outcomes import Outcome
from ledger.errors import IntegrityError, StorageError

Submit = Callable[[Sequence[bytes]], list[Outcome]]


class Batcher:
    """Collects single tokens of one event loop and submits them in groups, in order of arrival.

    ``submit`` blocks and runs in ``executor``, one group at a time. It keeps all of a group or,
    when it raises, nothing of it.
    """

    def __init__(self, submit: Submit, executor: Executor, *, max_group: int) -> None:
        self._submit = submit
        self._executor = executor
        self._max_group = max_group
        self._waiting: deque[tuple[bytes, asyncio.Future[Outcome]]] = deque()
        self._running: asyncio.Task[None] | None = None

    @property
    def depth(self) -> int:
        """Tokens that wait for their group to be submitted."""
        return len(self._waiting)

    async def post(self, token: bytes) -> Outcome:
        """The outcome of one token, after the group's write is durable.

        A caller that is cancelled meanwhile does not take its token back: the write may be under
        way.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((token, future))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), self._max_group)
            group = [self._waiting.popleft() for _ in range(count)]
            await self._settle(group)

    async def _settle(self, group: list[tuple[bytes, asyncio.Future[Outcome]]]) -> None:
        try:
            outcomes = await self._run([token for token, _ in group])
        except (StorageError, IntegrityError) as error:
            _fail(group, error)
        except Exception as error:
            # A defect that one token brings out must not fail the others of its group.
            if len(group) == 1:
                _fail(group, error)
                return
            for one in group:
                await self._settle([one])
        except BaseException as error:
            _fail(group, error)
            raise
        else:
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if not future.done():
                    future.set_result(outcome)

    async def _run(self, tokens: list[bytes]) -> list[Outcome]:
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, self._submit, tokens
        )


def _fail(group: list[tuple[bytes, asyncio.Future[Outcome]]], error: BaseException) -> None:
    for _, future in group:
        if future.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            future.cancel()
        else:
            future.set_exception(error)
