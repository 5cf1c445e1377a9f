"""Each system call of append, publish and recovery failed once, and was the last one once.

The calls are those on the ledger's own files (database, WAL, shared memory, lock, record of the
newest checkpoint, keys) and their folder. A first run of each phase counts them; then one run for
each call and fault: EIO, ENOSPC where something is written or made, and a kill in place of the
call. Seven phases: making a ledger, a batch, a batch whose commit folds the WAL into the database,
publishing, a clean stop, the start after a kill, and the start after a kill between the record of
a checkpoint and its commit.

The whole product is some 3,200 runs, half an hour or more: ``CHIP_PASSPORT_CALLS=all``. In CI a
twelfth of it is drawn with a fixed seed, so that every call that a phase makes meets every fault at
least once, and the rest is spread evenly; ``CHIP_PASSPORT_CALLS`` is the number of runs.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.faults.tracing import require_strace

ROOT = Path(__file__).resolve().parents[2]
RUNS = os.environ.get("CHIP_PASSPORT_CALLS", "280")
PHASES = ("begin", "append", "fold", "publish", "close", "recovery", "finish")
PROCESSES = 2
SEED = 4
TAKES_SPACE = {"openat", "pwrite64", "write", "fsync", "fdatasync", "ftruncate", "fallocate"}
TAKES_SPACE |= {"rename", "renameat", "renameat2", "mkdir", "mkdirat"}
ONLY_KILLED = {"close", "munmap"}
"""Linux gives the descriptor or memory back even where it reports an error; strace would not."""
REFUSALS = {"StorageError", "ConfigurationError", "IntegrityError"}

Case = dict[str, Any]


def run(folder: Path, cases: list[Case]) -> list[dict[str, Any]]:
    """Results of ``cases``, from several processes side by side."""
    running = []
    for number in range(PROCESSES):
        own = folder / f"{number}"
        own.mkdir()
        (own / "cases").write_text("".join(f"{json.dumps(c)}\n" for c in cases[number::PROCESSES]))
        command = [sys.executable, "-m", "tests.faults.calls", str(own)]
        names = ("results", "errors")
        with (own / "cases").open() as given, ExitStack() as files:
            out, err = (files.enter_context((own / name).open("w")) for name in names)
            process = subprocess.Popen(command, cwd=ROOT, stdin=given, stdout=out, stderr=err)
        running.append((own, process))
    results: list[dict[str, Any]] = []
    for own, process in running:
        assert process.wait() == 0, (own / "errors").read_text()
        results += map(json.loads, (own / "results").read_text().splitlines())
    return results


def product(counted: Iterable[dict[str, Any]]) -> list[Case]:
    """Every call with every fault."""
    cases = []
    for result in counted:
        for call, count in sorted(result["calls"].items()):
            faults = ["KILL"]
            if call not in ONLY_KILLED:
                faults.append("EIO")
            if call in TAKES_SPACE:
                faults.append("ENOSPC")
            cases += [
                {"phase": result["case"]["phase"], "call": call, "when": when, "fault": fault}
                for fault in faults
                for when in range(1, count + 1)
            ]
    return cases


def drawn(cases: list[Case], runs: str) -> list[Case]:
    """All, or so many: one of each phase, call and fault, and the rest spread evenly."""
    if runs == "all" or int(runs) >= len(cases):
        return cases
    chance = random.Random(SEED)
    order = chance.sample(cases, len(cases))
    first: dict[tuple[str, ...], Case] = {}
    for case in order:
        first.setdefault((case["phase"], case["call"], case["fault"]), case)
    rest = [case for case in cases if case not in first.values()]
    left = max(0, int(runs) - len(first))
    spread = [rest[int((n + chance.random()) * len(rest) / left)] for n in range(left)]
    return [*first.values(), *spread]


def fault_of(result: dict[str, Any]) -> str | None:
    """What is wrong with how the work ended; None where it ended as it may."""
    case = result["case"]
    if result["broken"]:
        return str(result["broken"])
    if case["fault"] == "KILL":
        return None if result["outcome"] == "killed" else "it was not killed"
    if not result["injected"]:
        return "the call was not made"
    if result["outcome"] == "done":
        return None
    if result["outcome"] in REFUSALS and result["said"]:
        return None
    return f"it ended with {result['outcome']!r}"


@pytest.mark.faults
def test_every_call_may_fail_or_be_the_last(tmp_path: Path) -> None:
    require_strace()
    counting = tmp_path / "counting"
    counting.mkdir()
    counted = run(counting, [{"phase": phase} for phase in PHASES])
    for result in counted:
        assert result["outcome"] == "done", result
        assert not result["broken"], result["broken"]
        assert sum(result["calls"].values()) > 20, result
    cases = product(counted)
    chosen = drawn(cases, RUNS)
    results = run(tmp_path, chosen)
    outcomes = Counter((r["case"]["phase"], r["case"]["fault"], r["outcome"]) for r in results)
    print(f"\n{len(results)} of {len(cases)} calls and faults")
    for (phase, fault, outcome), count in sorted(outcomes.items()):
        print(f"{phase:10}{fault:8}{outcome:20}{count:6}")
    faults = [(r["case"], found) for r in results if (found := fault_of(r)) is not None]
    assert not faults, "\n".join(f"{case}: {found}" for case, found in faults[:10])
    assert len(results) == len(chosen)


def test_draw_meets_every_kind_and_is_repeatable() -> None:
    counted = [{"case": {"phase": "p"}, "calls": {"pwrite64": 90, "close": 3, "fcntl": 9}}]
    cases = product(counted)
    assert len(cases) == 90 * 3 + 3 + 9 * 2
    chosen = drawn(cases, "30")
    assert len(chosen) == 30
    assert chosen == drawn(cases, "30")
    assert {(c["call"], c["fault"]) for c in chosen} == {(c["call"], c["fault"]) for c in cases}
    assert drawn(cases, "all") == cases


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, None),
        ({"outcome": "StorageError", "said": "disk I/O error"}, None),
        ({"outcome": "StorageError"}, "ended with"),
        ({"outcome": "OSError", "said": "[Errno 5]"}, "ended with"),
        ({"outcome": "killed"}, "ended with"),
        ({"broken": "entry 7 was acknowledged"}, "entry 7"),
        ({"injected": False}, "not made"),
        ({"case": {"fault": "KILL"}}, "not killed"),
    ],
)
def test_judgement_of_a_run(changes: dict[str, Any], says: str | None) -> None:
    result = {"case": {"fault": "EIO"}, "outcome": "done", "said": "", "broken": ""}
    found = fault_of({**result, "injected": True, **changes})
    assert found is None if says is None else says in str(found)
