"""Reads the imports of the packages and says where they break the architecture.

Levels: 0 standard library; 1 the pure core; 2 storage; 3 service; 4 interfaces. A module imports
its own level or a lower one, there is no cycle, and the core takes clock, randomness and bytes as
arguments. Imports inside functions and under TYPE_CHECKING count like all others.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = ("ledger", "api", "device_sim")

# The longest matching name decides. Naming a new part of the tree here is meant to be a decision.
LEVELS = {
    "ledger": 0,
    "ledger.errors": 0,
    "ledger.values": 0,
    "ledger.protocol": 1,
    "ledger.log": 1,
    "ledger.geo": 1,
    "ledger.location": 1,
    "ledger.registry": 1,
    "ledger.appraisal": 1,
    "ledger.passport": 1,
    "ledger.bundle": 1,
    "ledger.store": 2,
    "ledger.service": 3,
    "api": 4,
    "device_sim": 4,
}

# The simulator meets the rest at the public wire and the client only.
SIMULATOR_MAY = ("ledger.errors", "ledger.values", "ledger.protocol", "ledger.geo", "api.client")
# Nor may what it is allowed to import lead it round to these.
SIMULATOR_NEVER_REACHES = ("ledger.store", "ledger.service")

_CORE = frozenset(
    "annotated_types cbor2 cryptography iso3166 nacl numpy pydantic pydantic_core shapely"
    " typing_extensions".split()
)
_STORE = _CORE | {"alembic", "psycopg", "sqlalchemy", "sqlmodel"}
_SERVICE = _STORE | {"prometheus_client", "structlog"}
_INTERFACE = _SERVICE | frozenset(
    "anyio click fastapi httpx matplotlib pydantic_settings rich starlette typer uvicorn".split()
)
THIRD_PARTY = {0: frozenset[str](), 1: _CORE, 2: _STORE, 3: _SERVICE, 4: _INTERFACE}

PURE = (
    "ledger.errors",
    "ledger.values",
    "ledger.protocol",
    "ledger.log",
    "ledger.geo",
    "ledger.location",
    "ledger.registry",
    "ledger.appraisal",
    "ledger.passport",
    "ledger.bundle",
)
# The readers of packaged files, the programs that make these, and the table of one of them.
MAY_READ_FILES = (
    *("ledger.geo.loader", "ledger.geo.build", "ledger.geo.territories"),
    *("ledger.location.loader", "ledger.location.build"),
)
# The clock is an argument here too, although these write to a database.
CLOCK_GIVEN = (*PURE, "ledger.store", "ledger.service")
# The one module that knows the real time; it makes the clock that the others are given.
READS_THE_CLOCK = ("ledger.service.clock",)

_IMPURE_MODULES = frozenset(
    "asyncio ftplib glob http importlib multiprocessing os pathlib random secrets select shutil"
    " smtplib socket socketserver sqlite3 ssl subprocess tempfile time urllib.request".split()
)
_IMPURE_CALLS = frozenset({"open", "input", "print", "exec", "eval", "breakpoint", "__import__"})
_IMPURE_ATTRIBUTES = frozenset(
    "generate generate_private_key open random random_serial_number read_bytes read_text"
    " token_bytes token_hex urandom uuid1 uuid4 write_bytes write_text".split()
)
_CLOCK_ATTRIBUTES = frozenset({"now", "today", "utcnow"})
_CLOCK_CALLS = frozenset({"time.time", "time.time_ns"})


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed source file: its dotted name, whether it is a package, and what it imports."""

    name: str
    is_package: bool
    tree: ast.Module
    imports: tuple[tuple[str, int], ...] = field(default=())


def load(root: Path) -> dict[str, Module]:
    """Every module of the packages below ``root``."""
    sources = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            if "versions" in path.parts:  # migrations have no importable names
                continue
            sources[path.relative_to(root).as_posix()] = path.read_text()
    return parse(sources)


def parse(sources: Mapping[str, str]) -> dict[str, Module]:
    """Modules from ``{"ledger/log/merkle.py": source}``."""
    bare = {}
    for path, source in sources.items():
        parts = path.removesuffix(".py").split("/")
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        bare[name] = Module(name, is_package, ast.parse(source, path))
    known = {*bare, *LEVELS, *(name.rpartition(".")[0] for name in bare)}
    return {
        name: Module(name, module.is_package, module.tree, tuple(_imports(module, known)))
        for name, module in bare.items()
    }


def check(modules: Mapping[str, Module]) -> list[str]:
    """Every fault, as a sentence that names the module, the line and the rule."""
    faults = []
    for module in modules.values():
        faults += _check_levels(module)
        if within(module.name, ("device_sim",)):
            faults += _check_simulator(module, modules)
        if within(module.name, PURE) and not within(module.name, MAY_READ_FILES):
            faults += _check_pure(module)
        if within(module.name, CLOCK_GIVEN) and not within(module.name, READS_THE_CLOCK):
            faults += _check_clock(module)
    return [*faults, *_check_cycles(modules)]


def within(name: str, parents: tuple[str, ...]) -> bool:
    """Whether ``name`` is one of ``parents`` or below it."""
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def level_of(name: str) -> int | None:
    """The level of a project module, or None for a module outside the project."""
    if name.partition(".")[0] not in PACKAGES:
        return None
    while name and name not in LEVELS:
        name = name.rpartition(".")[0]
    return LEVELS[name]


def _imports(module: Module, known: set[str]) -> Iterator[tuple[str, int]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            for alias in node.names:
                below = f"{base}.{alias.name}"
                yield (below if below in known else base), node.lineno


def _absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    keep = len(parts) - node.level + (1 if module.is_package else 0)
    return ".".join([*parts[:keep], *([node.module] if node.module else [])])


def _check_levels(module: Module) -> Iterator[str]:
    own = level_of(module.name)
    assert own is not None
    if (
        module.name.count(".") == 1
        and module.name.startswith("ledger.")
        and (module.name not in LEVELS)
    ):
        yield f"{module.name}: no level is set for it; add it to LEVELS in tests/architecture.py"
        return
    for target, line in module.imports:
        other = level_of(target)
        top = target.partition(".")[0]
        if other is not None and other > own:
            yield f"{module.name}:{line} (level {own}) imports {target} (level {other}, higher)"
        elif other is None and top not in sys.stdlib_module_names and top not in THIRD_PARTY[own]:
            yield f"{module.name}:{line} (level {own}) imports {top}, which its level may not use"


def _check_simulator(module: Module, modules: Mapping[str, Module]) -> Iterator[str]:
    for target, line in module.imports:
        if level_of(target) is None:
            continue
        if not within(target, ("device_sim", *SIMULATOR_MAY)):
            yield (
                f"{module.name}:{line} imports {target}; the simulator may import only "
                + ", ".join(SIMULATOR_MAY)
            )
            continue
        if not within(target, ("device_sim",)) and (path := _way_to_server(target, modules)):
            yield f"{module.name}:{line} reaches the server's inside: {' -> '.join(path)}"


def _way_to_server(start: str, modules: Mapping[str, Module]) -> list[str] | None:
    """A chain of imports from ``start`` to a module that the simulator must not load."""
    waiting, seen = [[start]], {start}
    while waiting:
        path = waiting.pop()
        if within(path[-1], SIMULATOR_NEVER_REACHES):
            return path
        for target in _loaded_by(path[-1], modules):
            if target not in seen:
                seen.add(target)
                waiting.append([*path, target])
    return None


def _loaded_by(name: str, modules: Mapping[str, Module]) -> Iterator[str]:
    """What importing ``name`` loads directly: its imports, and the packages that it lies in."""
    if name in modules:
        yield from (target for target, _ in modules[name].imports if level_of(target) is not None)
    if "." in name:
        yield name.rpartition(".")[0]


def _check_pure(module: Module) -> Iterator[str]:
    for target, line in module.imports:
        if within(target, tuple(_IMPURE_MODULES)):
            yield f"{module.name}:{line} imports {target}; the pure core takes it as an argument"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            name = _dotted(node.func)
            last = name.rpartition(".")[2]
            if name in _IMPURE_CALLS or ("." in name and last in _IMPURE_ATTRIBUTES):
                yield f"{module.name}:{node.lineno} calls {name}(); the pure core does no I/O"
        elif isinstance(node, ast.Attribute) and _dotted(node) in ("np.random", "numpy.random"):
            yield f"{module.name}:{node.lineno} uses numpy.random; the pure core has no randomness"


def _check_clock(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            name = _dotted(node.func)
            if name in _CLOCK_CALLS or name.rpartition(".")[2] in _CLOCK_ATTRIBUTES:
                yield f"{module.name}:{node.lineno} calls {name}(); the clock is an argument"


def _dotted(node: ast.expr) -> str:
    """``a.b.c`` of a chain of attributes; an unnamed start is written as ``?``."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "?")
    return ".".join(reversed(parts))


def _check_cycles(modules: Mapping[str, Module]) -> Iterator[str]:
    graph = {
        name: sorted({target for target, _ in module.imports if target in modules} - {name})
        for name, module in modules.items()
    }
    done: set[str] = set()
    for start in graph:
        if start not in done and (cycle := _cycle_from(start, graph, done)):
            yield "import cycle: " + " -> ".join(cycle)


def _cycle_from(start: str, graph: Mapping[str, list[str]], done: set[str]) -> list[str] | None:
    path = [start]
    waiting = [iter(graph[start])]
    while waiting:
        target = next(waiting[-1], None)
        if target is None:
            done.add(path.pop())
            waiting.pop()
        elif target in path:
            done.update(path)
            return [*path[path.index(target) :], target]
        elif target not in done:
            path.append(target)
            waiting.append(iter(graph[target]))
    return None
