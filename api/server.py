"""Runs the HTTP service: binds, tells when it is ready, does the once-a-second work, stops."""

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from types import FrameType

import structlog
import uvicorn

from api.app import create_app
from api.logs import place
from api.metrics import Metrics
from api.settings import ServiceSettings
from ledger.errors import ChipPassportError, ConfigurationError, IntegrityError
from ledger.service.node import Node

TICK_S = 1.0
KEEP_ALIVE_S = 75
"""Longer than clients keep a connection, so that no request meets one that just closed."""
GRACE_S = 30
"""Longest time that requests under way get to finish when the service stops."""
BACKLOG = 2_048
MAX_PORT = 65_535
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = structlog.get_logger("api.server")


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


class Server:
    """One HTTP service over ``node``, which stays the caller's to open and to close.

    The socket is bound when the object is made, so ``url`` is known at once and connections made
    before ``run`` wait instead of failing.
    """

    def __init__(
        self,
        node: Node,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: ServiceSettings | None = None,
    ) -> None:
        """Raises ConfigurationError where the address cannot be had."""
        self._node = node
        self._socket = bind(host, port)
        self._fatal: BaseException | None = None
        self.app = create_app(node, settings=settings, on_fatal=self._stop_for)
        config = uvicorn.Config(
            self.app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._uvicorn = _Uvicorn(config)

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
        finished first. Raises the IntegrityError that stopped the service, if one did.
        """
        url = self.url
        self._uvicorn.on_ready = (lambda: on_ready(url)) if on_ready else None
        ticker = Ticker(self._node, self.app.state.metrics, self._stop_for)
        if self._node.status().clock_mode == "real":
            ticker.start()
        try:
            with _stopping_on(signals, self._uvicorn.ask_to_stop):
                self._uvicorn.run(sockets=[self._socket])
        finally:
            ticker.stop()
            self._socket.close()
        if self._fatal is not None:
            raise self._fatal

    def stop(self) -> None:
        """Ask ``run`` to end, from any thread; before ``run``, it ends as soon as it starts."""
        self._uvicorn.ask_to_stop()

    def close(self) -> None:
        """Give up a server that was never run."""
        self._socket.close()

    def _stop_for(self, error: BaseException) -> None:
        if self._fatal is None:
            self._fatal = error
            _log.critical("stopping: stored data contradicts itself", error=str(error))
        self.stop()


class Ticker:
    """Calls ``node.tick`` about once a second in a thread of its own."""

    def __init__(
        self, node: Node, metrics: Metrics, on_fatal: Callable[[BaseException], None]
    ) -> None:
        self._node = node
        self._metrics = metrics
        self._on_fatal = on_fatal
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, with the first call at once."""
        self._thread = threading.Thread(target=self._loop, name="tick", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, after the call under way."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _loop(self) -> None:
        while not self._stopping.is_set():
            if not self._once():
                return
            self._stopping.wait(TICK_S)

    def _once(self) -> bool:
        """One call; False where there must not be another. Other faults are tried again."""
        try:
            self._node.tick()
        except IntegrityError as error:
            self._metrics.ticks.labels("fatal").inc()
            self._on_fatal(error)
            return False
        except Exception as error:
            self._metrics.ticks.labels("failed").inc()
            shown = str(error) if isinstance(error, ChipPassportError) else ""
            _log.error("tick failed", error=type(error).__name__, at=place(error), detail=shown)
        else:
            self._metrics.ticks.labels("done").inc()
        return True


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

    def ask_to_stop(self) -> None:
        """Stop in order; asked again by a signal, without waiting for requests under way."""
        self.should_exit = True


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
