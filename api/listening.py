"""What every HTTP program here shares: a bound socket, signals, a stop in order."""

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from types import FrameType
from typing import Any

import uvicorn

from api.wire import MAX_CONNECTIONS, PATIENCE_S, protocol
from ledger.errors import ConfigurationError

KEEP_ALIVE_S = 75
"""Longer than clients keep a connection, so that no request meets one that just closed."""
GRACE_S = 30
"""Longest time that requests under way get to finish when the service stops."""
BACKLOG = 2_048
MAX_PORT = 65_535
OWN_FILES = 128
"""Open files for all but connections: database, workers, log. Far fewer are in use."""
MAX_FILES = 2**20
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises ConfigurationError."""
    if not 0 <= port <= MAX_PORT:
        raise ConfigurationError(f"cannot listen on port {port}: choose one up to {MAX_PORT}.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {error.strerror or error}. "
            "Choose another address, or stop the program that has it."
        ) from error


def spare_files() -> int:
    """How many connections the process's limit of open files leaves room for."""
    if sys.platform == "win32":
        return MAX_FILES
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_FILES if limit == resource.RLIM_INFINITY else max(1, limit - OWN_FILES)


class Listener:
    """One ASGI application on one socket.

    The socket is bound when the object is made, so ``url`` is known at once and connections made
    before ``run`` wait instead of failing.
    """

    def __init__(
        self,
        app: Any,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        lifespan: bool = False,
        patience_s: float = PATIENCE_S,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """``patience_s``: how long a client may take to send a request's head, or to read.

        Beyond ``max_connections``, or what the process may open, one that waits is closed.

        Raises ConfigurationError where the address cannot be had.
        """
        self._socket = bind(host, port)
        config = uvicorn.Config(
            app,
            http=protocol(patience_s, min(max_connections, spare_files())),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on" if lifespan else "off",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        self.uvicorn = _Uvicorn(config)

    @property
    def url(self) -> str:
        """Base URL of the service."""
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(
        self,
        *,
        on_ready: Callable[[str], None] | None = None,
        signals: Sequence[signal.Signals] = STOP_SIGNALS,
    ) -> None:
        """Serve until ``stop``, or until one of ``signals`` where this is the main thread.

        ``on_ready`` is called with the URL once requests are answered. Requests under way are
        finished first.
        """
        url = self.url
        self.uvicorn.on_ready = (lambda: on_ready(url)) if on_ready else None
        try:
            with _stopping_on(signals, self.stop):
                self.uvicorn.run(sockets=[self._socket])
        finally:
            self.close()

    def stop(self) -> None:
        """Ask ``run`` to end, from any thread; before ``run``, it ends as soon as it starts."""
        self.uvicorn.should_exit = True

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


class _Uvicorn(uvicorn.Server):
    """Uvicorn that tells when it is ready and leaves signals to us.

    Uvicorn raises a caught signal again after its shutdown, which would end the process before
    the ledger is closed.
    """

    on_ready: Callable[[], None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.on_ready is not None:
            self.on_ready()


@contextlib.contextmanager
def _stopping_on(
    signals: Sequence[signal.Signals], stop: Callable[[], None]
) -> Generator[None, None, None]:
    """Call ``stop`` on any of ``signals``; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
