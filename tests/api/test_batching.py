"""Group commit: who shares a write, and what a fault does to the others."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.batching import Batcher
from ledger.errors import Reason, Refused, StorageError


def _run(coroutine):
    return asyncio.run(coroutine)


class Ledger:
    """Answers each token with a refusal that quotes it; remembers the groups."""

    def __init__(self) -> None:
        self.groups: list[list[bytes]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Exception | None = None

    def submit(self, tokens):
        self.groups.append(list(tokens))
        assert self.gate.wait(10)
        if self.fault is not None and b"bad" in tokens:
            raise self.fault
        return [Refused(Reason.DUPLICATE, token.decode()) for token in tokens]


@pytest.fixture
def executor():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_an_idle_batcher_submits_at_once(executor):
    ledger = Ledger()

    async def main():
        batcher = Batcher(ledger.submit, executor, max_group=8)
        return [(await batcher.post(b"%d" % n)).detail for n in range(3)]

    assert _run(main()) == ["0", "1", "2"]
    assert ledger.groups == [[b"0"], [b"1"], [b"2"]]


def test_what_arrives_during_a_write_shares_the_next_ones_in_order(executor):
    ledger = Ledger()
    ledger.gate.clear()

    async def main():
        batcher = Batcher(ledger.submit, executor, max_group=3)
        posts = [asyncio.create_task(batcher.post(b"%d" % n)) for n in range(6)]
        while not ledger.groups:
            await asyncio.sleep(0.001)
        later = [asyncio.create_task(batcher.post(b"%d" % n)) for n in (6, 7)]
        await asyncio.sleep(0.01)
        assert batcher.depth == 5
        ledger.gate.set()
        return [outcome.detail for outcome in await asyncio.gather(*posts, *later)]

    assert _run(main()) == [str(n) for n in range(8)]
    assert [len(group) for group in ledger.groups] == [3, 3, 2]
    assert b"".join(token for group in ledger.groups for token in group) == b"01234567"


def test_a_storage_fault_fails_its_group_and_the_next_group_is_tried(executor):
    ledger = Ledger()
    ledger.fault = StorageError("disk full")

    async def main():
        batcher = Batcher(ledger.submit, executor, max_group=2)
        posts = [batcher.post(token) for token in (b"bad", b"a", b"b")]
        return await asyncio.gather(*posts, return_exceptions=True)

    found = _run(main())
    assert found[:2] == [ledger.fault, ledger.fault]
    assert found[2].detail == "b"
    assert ledger.groups == [[b"bad", b"a"], [b"b"]]


def test_a_defect_that_one_token_brings_out_fails_only_that_token(executor):
    ledger = Ledger()
    ledger.fault = ZeroDivisionError("ours")

    async def main():
        batcher = Batcher(ledger.submit, executor, max_group=8)
        posts = [batcher.post(token) for token in (b"a", b"bad", b"b")]
        return await asyncio.gather(*posts, return_exceptions=True)

    found = _run(main())
    assert (found[0].detail, found[1], found[2].detail) == ("a", ledger.fault, "b")


def test_a_caller_that_goes_away_leaves_the_others_their_outcomes(executor):
    ledger = Ledger()
    ledger.gate.clear()

    async def main():
        batcher = Batcher(ledger.submit, executor, max_group=8)
        gone = asyncio.create_task(batcher.post(b"gone"))
        stays = asyncio.create_task(batcher.post(b"stays"))
        await asyncio.sleep(0.01)
        gone.cancel()
        ledger.gate.set()
        return (await stays).detail, (await batcher.post(b"next")).detail

    assert _run(main()) == ("stays", "next")


def test_a_batcher_outlives_the_loop_that_it_first_ran_on(executor):
    ledger = Ledger()
    batcher = Batcher(ledger.submit, executor, max_group=8)
    assert _run(batcher.post(b"a")).detail == "a"
    assert _run(batcher.post(b"b")).detail == "b"
