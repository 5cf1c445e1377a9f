"""``audit`` over a real socket: sound ledgers, lying ones, access, resuming, submitting."""

import contextlib
import json
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from api.cli.options import TOKEN_VARIABLE
from api.client import Client
from api.cosigning import auditors_of
from api.server import Server
from api.settings import Access, ServiceSettings
from ledger.log.quorum import evaluate, judge
from ledger.log.tiles import entry_bundle_decode
from ledger.log.trust import TrustPolicy
from ledger.log.vkey import Vkey, decode_base64
from ledger.protocol.keys import Ed25519Signer
from ledger.service.audit import folder as folders
from ledger.service.audit import outside
from ledger.service.clock import SimulatedClock
from ledger.service.node import Node, NodeSettings
from tests.api.harness import Altered
from tests.cli.harness import ROOT, Outcome, Program, environment, finish
from tests.service.auditing import vkey_of
from tests.service.harness import open_node
from tests.service.storied import flipped, tell
from tests.world import seed

NAME = "auditor.example/a1"
WAIT_S = 60.0


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a ledger of over 300 entries in which everything has happened."""
    folder = tmp_path_factory.mktemp("story")
    tell(folder, rounds=60)
    return folder


@pytest.fixture
def node(told: Path, tmp_path: Path) -> Iterator[Node]:
    """That ledger, copied for a test of its own."""
    folder = tmp_path / "ledger"
    shutil.copytree(told, folder)
    node = open_node(folder)
    yield node
    node.close()


@contextlib.contextmanager
def serving(node: Any, auditors: Sequence[str] = (), access: Access = "open") -> Iterator[str]:
    """The address of a service over ``node``."""
    server = Server(
        node, settings=ServiceSettings(access=access), auditors=auditors_of(list(auditors))
    )
    ready = threading.Event()
    thread = threading.Thread(
        target=server.run, kwargs={"on_ready": lambda _: ready.set(), "signals": ()}, daemon=True
    )
    thread.start()
    assert ready.wait(WAIT_S)
    try:
        yield server.url
    finally:
        server.stop()
        thread.join(WAIT_S)


@pytest.fixture
def url(node: Node) -> Iterator[str]:
    with serving(node) as url:
        yield url


class Auditing:
    """``auditing(url, "--json")``: an audit of the ledger in ``state``."""

    def __init__(self, program: Program, node: Node, state: Path) -> None:
        self._program = program
        self.state = state
        self.vkey = vkey_of(node)

    def __call__(self, url: str, *words: str | Path, state: Path | None = None) -> Outcome:
        named = ("--ledger", self.vkey, "--state", state or self.state)
        return self._program("audit", url, *named, *words)


@pytest.fixture
def auditing(program: Program, node: Node, tmp_path: Path) -> Auditing:
    return Auditing(program, node, tmp_path / "a1")


def test_sound_ledger_is_told_cosigned_and_gone_on_with(
    auditing: Auditing, url: str, node: Node
) -> None:
    done = auditing(url, "--name", NAME)
    assert (done.code, done.err) == (0, "")
    first, *facts, last = done.out.splitlines()
    size = node.status().published_size
    assert first == f"matches: test.example/ledger, {size} entries"
    told = dict(line.split(maxsplit=1) for line in facts)
    assert told["entries"] == f"{size}, {size} of them new"
    assert told["signatures"] == str(size)
    assert told["decisions"] == "7 by the verifier, derived again"
    assert last.startswith(f"cosigned: {auditing.state / 'checkpoint'}; key {NAME}+")
    again = auditing(url, "--json")
    assert again.code == 0
    assert again.json["matches"]
    assert (again.json["first"], again.json["size"]) == (size, size)
    assert again.json["cosigned"]
    assert not again.json["submitted"]


def test_without_access_it_says_what_was_not_checked(auditing: Auditing, node: Node) -> None:
    with serving(node, access="tokens") as url:
        done = auditing(url, "--name", NAME)
    assert (done.code, done.err) == (0, "")
    assert "not checked: " in done.out
    assert "not cosigned: an auditor cosigns what it has seen whole" in done.out
    assert "decisions  " not in done.out
    assert not (auditing.state / "checkpoint").exists()


def test_token_gives_access(
    auditing: Auditing,
    program: Program,
    node: Node,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: dict[str, str] = {}
    for role in ("auditor", "officer"):
        done = program("token", "create", "--role", role, "--database", node.settings.database)
        assert done.code == 0, done.err
        made[role] = done.out.strip()
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(made["auditor"])
    with serving(node, access="tokens") as url:
        done = auditing(url, "--name", NAME, "--token-file", file, "--json")
        assert (done.code, done.json["cosigned"], done.json["unseen"]) == (0, True, 0)
        assert "no longer shows" not in auditing(url).err
        monkeypatch.setenv(TOKEN_VARIABLE, made["officer"])
        other = tmp_path / "a2"
        said = auditing(url, state=other).complaint
        assert "this token does not show entry" in said
        monkeypatch.setenv(TOKEN_VARIABLE, "cpt_nonsense")
        assert "token" in auditing(url, state=other).complaint
        file.chmod(0o644)
        assert "chmod 600" in auditing(url, "--token-file", file).complaint


def test_cosignature_is_handed_in_served_and_makes_a_quorum(
    auditing: Auditing, node: Node, program: Program, tmp_path: Path
) -> None:
    with serving(node) as url:
        auditing(url, "--name", NAME)
        done = auditing(url, "--submit")
        assert "signature-invalid" in done.complaint
        key = auditing(url, "--json").json["vkey"]
    policy = tmp_path / "trust.policy"
    policy.write_text(f"log {auditing.vkey}\nwitness a1 {key}\nquorum a1\n")
    with serving(node, [key]) as url:
        words = ("audit", url, "--trust", policy, "--state", auditing.state, "--submit")
        done = program(*words)
        assert (done.code, done.err) == (0, "")
        assert "witnesses   the policy's quorum is not met" in done.out
        assert (
            f"cosigned: {auditing.state / 'checkpoint'}, and handed to the ledger; key" in done.out
        )
        with Client(url) as client:
            note = client.checkpoint()
        assert note == (auditing.state / "checkpoint").read_bytes()
        endorsement = evaluate(TrustPolicy.parse(policy.read_bytes()), note)
        assert endorsement.quorum_met
        assert "witnesses   the policy's quorum is met" in program(*words).out


def test_two_workers_find_what_one_finds(auditing: Auditing, url: str, tmp_path: Path) -> None:
    one = auditing(url, "--json", state=tmp_path / "one").json
    two = auditing(url, "--json", "--workers", "2", state=tmp_path / "two").json
    assert one == two
    assert one["matches"]


# -- ledgers that lie ------------------------------------------------------------------------------


def hidden_decision(node: Node) -> dict[str, Callable[..., Any]]:
    leaves = entry_bundle_decode(node.tile("entries/000"))
    index = next(at for at, leaf in enumerate(leaves) if b"decision" in leaf)

    def statements(start: int, limit: int, viewer: Any) -> list[bytes | None]:
        found = node.statements(start, limit, viewer)
        return [None if at == index else item for at, item in enumerate(found, start)]

    return {"statements": statements}


def changed_tile(node: Node) -> dict[str, Callable[..., Any]]:
    def tile(path: str) -> bytes:
        data = node.tile(path)
        return flipped(data, 99) if path.startswith("0/") else data

    return {"tile": tile}


def changed_leaf(node: Node) -> dict[str, Callable[..., Any]]:
    def tile(path: str) -> bytes:
        data = node.tile(path)
        return flipped(data, 40) if path.startswith("entries/000") else data

    return {"tile": tile}


def no_bytes(node: Node) -> dict[str, Callable[..., Any]]:
    return {"statements": lambda *_: []}


def nonsense(node: Node) -> dict[str, Callable[..., Any]]:
    return {"checkpoint": lambda: b"<html>hello</html>"}


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (hidden_decision, "statement: it is withheld and cannot be checked"),
        (changed_tile, "tile 0/0: hash 3 is not the one that the entries make"),
        (changed_leaf, "entry 0: it does not continue the chain"),
        (no_bytes, "entry 0, statement: the ledger gives nothing in its place"),
        (nonsense, "checkpoint: "),
    ],
)
def test_lie_is_named(
    auditing: Auditing, node: Node, lie: Callable[[Node], Any], words: str
) -> None:
    with serving(Altered(node, **lie(node))) as url:
        done = auditing(url, "--name", NAME)
        as_json = auditing(url, "--json")
    assert (done.code, done.err) == (1, "")
    first = done.out.splitlines()[0]
    assert first.startswith("DOES NOT MATCH: ")
    assert words in first
    assert as_json.code == 1
    assert not as_json.json["matches"]
    assert len(as_json.json["faults"]) == 1
    assert not (auditing.state / "checkpoint").exists()


def test_rollback_is_named(auditing: Auditing, node: Node, tmp_path: Path, told: Path) -> None:
    with serving(node) as url:
        assert auditing(url).code == 0
        old = node.checkpoint()
        node.set_time(node.clock.now_ms() + 3_600_000)
        assert auditing(url).code == 0
    with serving(Altered(node, checkpoint=lambda: old)) as url:
        done = auditing(url)
    assert done.code == 1
    assert "does not extend the one audited last" in done.out
    assert "the ledger was rolled back" in done.out


# -- what keeps an audit from being made -----------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say whom you trust"),
        (("--ledger", "x", "--trust", "y"), "say whom you trust"),
        (("--ledger", "x"), "takes a ledger's vkey"),
        (("--trust", "missing"), "missing"),
        (("--ledger", "LEDGER", "--name", "a b"), "--name"),
        (("--ledger", "LEDGER", "--submit"), "takes a --name"),
    ],
)
def test_options_that_cannot_be_meant(
    program: Program, auditing: Auditing, words: tuple[str, ...], said: str
) -> None:
    meant = [auditing.vkey if word == "LEDGER" else word for word in words]
    done = program("audit", "http://127.0.0.1:1", "--state", auditing.state, *meant)
    assert said in done.complaint


def test_service_that_is_none_is_said(
    auditing: Auditing, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.audit_source.ATTEMPTS", 1)
    assert "127.0.0.1:1" in auditing("http://127.0.0.1:1").complaint
    assert "is not an http" in auditing("ftp://127.0.0.1").complaint
    other = auditing.vkey
    with serving(node) as url:
        key = other.partition("+")[2].partition("+")[2]
        auditing.vkey = Vkey("other.example", 1, decode_base64(key)[1:]).encode()
        assert "the service has the ledger test.example" in auditing(url).complaint


def test_ledger_without_a_checkpoint_is_said(
    auditing: Auditing, tmp_path: Path, told: Path
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    empty = Node.open(NodeSettings(str(folder / "ledger.db"), clock=SimulatedClock(0)))
    with serving(empty) as url:
        assert "no checkpoint is published yet" in auditing(url).complaint
    empty.close()


# -- killed ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_anywhere_it_goes_on(auditing: Auditing, url: str, tmp_path: Path) -> None:
    """SIGKILL at random moments of the whole program, until one run gets through."""
    chance, killed = random.Random(7), 0
    words = ("audit", url, "--ledger", auditing.vkey, "--state", auditing.state, "--name", NAME)
    program = "import sys; from ledger.service.audit import outside; outside.BATCH = 16\n"
    program += "from api.cli.program import run; sys.exit(run(sys.argv[1:]))"
    (tmp_path / "small_batches.py").write_text(program)
    patience_s = 0.5
    while True:
        process = start_small(tmp_path, *words)
        try:
            done = finish(process, chance.uniform(0.1, patience_s))
        except subprocess.TimeoutExpired:
            killed += 1
            patience_s += 0.2
            continue
        assert done.code == 0, done.err
        break
    assert killed > 2
    assert done.out.startswith("matches: ")
    whole = json.loads(auditing(url, "--json").out)
    fresh = auditing(url, "--json", "--name", "auditor.example/a2", state=tmp_path / "b").json
    for name in ("size", "signatures", "decisions", "map_roots", "chips", "root", "cosigned"):
        assert whole[name] == fresh[name], name


def start_small(folder: Path, *words: str | Path) -> Any:
    """The program with small batches, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "small_batches.py", *map(str, words)],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("key", ["x", "LEDGER"])
def test_serve_takes_keys_of_auditors_alone(program: Program, auditing: Auditing, key: str) -> None:
    named = auditing.vkey if key == "LEDGER" else key
    assert "an auditor is named by its key" in program("serve", "--auditor", named).complaint


def test_serve_takes_no_auditor_twice(program: Program, auditing: Auditing, url: str) -> None:
    key = auditing(url, "--name", NAME, "--json").json["vkey"]
    done = program("serve", "--auditor", key, "--auditor", key)
    assert "two auditors have the same key" in done.complaint


# -- the page --------------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "audit.md").read_text()


def test_the_page_has_the_numbers_and_files_of_the_code() -> None:
    assert f"Every {outside.BATCH:,} entries" in PAGE
    assert outside.OVERDUE_MS == 3_600_000
    assert "within an hour, by the ledger's time" in PAGE
    for name in (folders.DATABASE, folders.KEY, folders.CHECKPOINT, f"{folders.FORK}/"):
        assert f"| `{name}` |" in PAGE


def test_the_policy_of_the_page_is_one(auditing: Auditing) -> None:
    (text,) = re.findall(r"^```\n(log .*?)^```", PAGE, re.MULTILINE | re.DOTALL)

    def key(found: re.Match[str]) -> str:
        raw = Ed25519Signer.from_seed(seed(found[0])).public.raw
        return Vkey(found[1], 1 if found[1].startswith("ledger") else 4, raw).encode()

    policy = TrustPolicy.parse(re.sub(r"(\S+)\+…", key, text).encode())
    assert [witness.name for witness in policy.witnesses] == ["w1", "w2", "w3", "a1"]
    needs = [({"w1", "w2", "a1"}, True), ({"w1", "w2", "w3"}, False), ({"w1", "a1"}, False)]
    for names, met in needs:
        assert judge(policy, dict.fromkeys(names, 1))[0] is met
