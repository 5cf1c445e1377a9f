"""One system call of one phase of work fails, or is the last one: what comes of it.

``python -m tests.faults.calls FOLDER`` reads cases from standard input, one JSON document a line,
and answers each with one. It loads the program once and forks a process for each case, which does
the work while strace makes one of its calls on the ledger's files fail. What the process was
promised until then is held against what is stored.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import event

from ledger.appraisal.places import cached_places
from ledger.errors import ChipPassportError, Reason, Refused, StorageError
from ledger.geo.borders import Borders
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import parse_note
from ledger.service.check import check_ledger
from ledger.service.clock import SimulatedClock
from ledger.service.node import Node, NodeSettings
from ledger.service.signed import Signed, SignedRecord
from tests.faults.promises import Promises
from tests.faults.tracing import allow_tracing, traced
from tests.faults.worker import remembered
from tests.service.harness import Stage, found, open_node
from tests.world import START_MS, World

CHIPS = 4
BATCH = 3
ENDINGS = ("", "-wal", "-shm", "-journal", ".lock", ".signed", ".signed.new")
KEY_FILES = ("", *(f"/{name}.key{new}" for name in ("ledger", "verifier") for new in ("", ".new")))


@dataclass(frozen=True)
class Case:
    """Phase of work; the ``when``-th ``call`` of that name in it; EIO, ENOSPC, KILL, or none."""

    phase: str
    call: str = ""
    when: int = 0
    fault: str = ""


@dataclass
class Result:
    """How the work ended, what became of it, and which calls were seen."""

    case: dict[str, Any]
    outcome: str = ""
    said: str = ""
    broken: str = ""
    calls: dict[str, int] = field(default_factory=dict)
    injected: bool = False


# -- the work -------------------------------------------------------------------------------------


class Worker:
    """In a process of its own: gets ready, does the one thing that is watched, goes on."""

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self.folder = folder
        self._tell = tell
        self.stage: Stage | None = None
        self.tokens: list[bytes] = []

    @property
    def there(self) -> Stage:
        assert self.stage is not None
        return self.stage

    def open(self) -> None:
        """Open the ledger as it lies in the folder."""
        self.stage = Stage(open_node(self.folder), World())
        self.stage.chips = remembered(self.stage.node, self.stage.world, CHIPS)
        self.told()

    def submit(self) -> None:
        """Send the statements, and tell what is acknowledged."""
        if not self.tokens:
            self.tokens = [self.there.token(chip) for chip in self.there.chips[:BATCH]]
            self.tokens.append(self.there.world.licence(id="L-2"))
        for result in self.there.node.submit(self.tokens):
            assert not isinstance(result, Exception), result
            self._tell(f"E {result.index} {result.leaf_hash.hex()}")

    def publish(self) -> None:
        self.there.node.publish()
        self.told()

    def told(self) -> None:
        """Tell of the newest checkpoint that a reader gets."""
        note = self.there.node.checkpoint()
        if note is not None:
            checkpoint = Checkpoint.decode(parse_note(note).text)
            self._tell(f"C {checkpoint.size} {checkpoint.root.hex()}")

    def begin(self) -> None:
        """Make a ledger, its keys and its first entries where there is nothing."""
        if self.stage is None:
            database = str(self.folder / "ledger.db")
            clock = SimulatedClock(START_MS)
            node = Node.open(NodeSettings(database, self.folder / "keys", clock))
            self.stage = Stage(node, World())
        status = self.there.node.status()
        if status.size == 0:
            self.tokens = [self.there.world.genesis(status.ledger_key, status.verifier_key)]
            self.submit()

    def fold_at_each_commit(self) -> None:
        """Have SQLite copy the WAL into the database after every commit."""
        event.listen(
            self.there.node._engine,
            "checkout",
            lambda connection, *_: connection.execute("PRAGMA wal_autocheckpoint=1"),
        )

    def close(self) -> None:
        self.there.node.close()


@dataclass(frozen=True)
class Phase:
    """``template``: the folder to begin with; ``ready``: before the watched ``act``."""

    template: str
    ready: tuple[str, ...]
    act: tuple[str, ...]


PHASES = {
    "begin": Phase("nothing", (), ("begin",)),
    "append": Phase("killed", ("open",), ("submit",)),
    "fold": Phase("killed", ("open", "fold_at_each_commit"), ("submit",)),
    "publish": Phase("killed", ("open", "submit"), ("publish",)),
    "close": Phase("killed", ("open", "submit", "publish"), ("close",)),
    "recovery": Phase("killed", (), ("open",)),
    "finish": Phase("recorded", (), ("open",)),
}


# -- folders to begin with ------------------------------------------------------------------------


def make_templates(folder: Path) -> None:
    """``nothing``, ``killed`` in the middle of work, and killed with a checkpoint ``recorded``."""
    (folder / "nothing").mkdir()
    for name in ("killed", "recorded"):
        (folder / name).mkdir()
        in_a_process(lambda name=name: _work(folder / name, name))


def _work(folder: Path, name: str) -> None:
    stage = found(open_node(folder), chips=CHIPS)
    for _ in range(2):
        stage.take(*(stage.token(chip) for chip in stage.chips))
        stage.hours()
    stage.take(*(stage.token(chip) for chip in stage.chips))
    if name == "recorded":
        real = SignedRecord.write

        def write(self: SignedRecord, signed: Signed) -> None:
            real(self, signed)
            os._exit(0)

        SignedRecord.write = write  # type: ignore[method-assign]
        stage.node.publish()


def in_a_process(work: Callable[[], None]) -> None:
    """A fork that ends without any tidying up."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


# -- one case -------------------------------------------------------------------------------------


def run_case(case: Case, templates: Path, folder: Path) -> Result:
    """Do the work in a child, with its fault; then look at what is there."""
    phase = PHASES[case.phase]
    shutil.copytree(templates / phase.template, folder)
    result = Result(asdict(case))
    promises = Promises()
    said = _watched(case, phase, folder, result)
    lines = said.splitlines(keepends=True)
    promises.take("".join(line for line in lines if line[0] in "EC").encode())
    words = [line.strip() for line in lines if line[0] not in "EC" and line.endswith("\n")]
    result.outcome = "killed"
    for line in words:
        kind, _, rest = line.partition(" ")
        if kind == "O":
            result.outcome, _, result.said = rest.partition(" ")
        elif kind == "X":
            result.broken = rest
    if not result.broken:
        try:
            _look(case, folder, promises, result)
        except Exception:
            result.broken = traceback.format_exc()
    return result


def _watched(case: Case, phase: Phase, folder: Path, result: Result) -> str:
    up_read, up_write = os.pipe()
    down_read, down_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(up_read)
        os.close(down_write)
        _child(phase, folder, up_write, down_read)
    os.close(up_write)
    os.close(down_read)
    output = folder.with_name(f"{folder.name}.trace")
    with os.fdopen(up_read) as up:
        said = _until(up, "R")
        if said.endswith("R\n"):
            with traced(pid, _options(case, folder), output):
                os.write(down_write, b"go\n")
                said += _until(up, "A")
            with suppress(BrokenPipeError):
                os.write(down_write, b"go\n")
            said += up.read()
    os.close(down_write)
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, -signal.SIGKILL):
        result.broken = f"ended with {status}"
    result.calls = dict(Counter(_names(output)))
    result.injected = output.exists() and "(INJECTED)" in output.read_text(errors="replace")
    output.unlink(missing_ok=True)
    return said


def _until(up: Any, mark: str) -> str:
    said = ""
    for line in up:
        said += line
        if line.startswith(mark):
            break
    return said


def _options(case: Case, folder: Path) -> list[str]:
    paths = [f"{folder}/ledger.db{ending}" for ending in ENDINGS]
    paths += [f"{folder}/keys{ending}" for ending in KEY_FILES]
    options = [word for path in [*paths, str(folder)] for word in ("-P", path)]
    options += ["-e", "signal=none", "-e", f"trace={case.call or '%desc,%file'}"]
    if case.fault:
        fault = "signal=KILL" if case.fault == "KILL" else f"error={case.fault}"
        options += ["-e", f"inject={case.call}:{fault}:when={case.when}"]
    return options


def _names(output: Path) -> list[str]:
    if not output.exists():
        return []
    lines = output.read_text(errors="replace").splitlines()
    return [line.partition("(")[0] for line in lines if "(" in line and line[0] not in "+-"]


def _child(phase: Phase, folder: Path, up: int, down: int) -> None:
    """Never returns."""

    def tell(line: str) -> None:
        os.write(up, f"{line}\n".encode())

    try:
        allow_tracing()
        worker = Worker(folder, tell)
        for step in phase.ready:
            getattr(worker, step)()
        tell("R")
        os.read(down, 3)
        fault: ChipPassportError | None = None
        try:
            for step in phase.act:
                getattr(worker, step)()
            tell("O done")
        except ChipPassportError as error:
            fault = error
            tell(f"O {type(error).__name__} {error}".replace("\n", " "))
        tell("A")
        os.read(down, 3)
        if fault is not None:
            _go_on(worker, phase, fault)
        tell("Z")
    except BaseException:
        tell("X " + traceback.format_exc().replace("\n", " | "))
    os._exit(0)


def _go_on(worker: Worker, phase: Phase, fault: ChipPassportError) -> None:
    """After a refusal: the same work succeeds now, in this process or in the next one."""
    if isinstance(fault, StorageError):
        for step in phase.act:
            getattr(worker, step)()
        return
    assert str(fault), "refused without a word"
    if worker.stage is not None:
        with suppress(ChipPassportError):
            worker.stage.node.close()


def _look(case: Case, folder: Path, promises: Promises, result: Result) -> None:
    """Whatever happened: opened again without faults, the ledger keeps its word and goes on."""
    database = folder / "ledger.db"
    if case.phase == "begin":
        node = Node.open(NodeSettings(str(database), folder / "keys", SimulatedClock(START_MS)))
    else:
        node = open_node(folder)
    with closing(node):
        promises.check(database)
        for older, newer in promises.pairs():
            node.extension_proof(older, newer)
        _take_more(case, Stage(node, World()))
        assert node.publish() is not None
        promises.check(database)
    faults = check_ledger(str(database)).faults
    assert not faults, faults


def _take_more(case: Case, stage: Stage) -> None:
    """The ledger goes on; one that was still to begin may have got as far as its parties."""
    if case.phase != "begin":
        stage.take(stage.world.licence(id="L-later"))
        return
    status = stage.node.status()
    if status.size == 0:
        stage.take(stage.world.genesis(status.ledger_key, status.verifier_key))
    for result in stage.node.submit(stage.world.parties()):
        assert not isinstance(result, Refused) or result.reason is Reason.DUPLICATE, result


def main(folder: Path) -> None:
    """Answer cases until standard input ends."""
    cached_places(Borders.load(None))  # forks find it loaded
    templates = folder / "templates"
    templates.mkdir()
    make_templates(templates)
    for number, line in enumerate(sys.stdin):
        work = folder / f"case{number}"
        result = run_case(Case(**json.loads(line)), templates, work)
        if not result.broken:
            shutil.rmtree(work)
        print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
