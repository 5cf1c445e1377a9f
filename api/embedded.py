"""A service inside another program: in a thread, or in a process of its own."""

import contextlib
import multiprocessing
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from api import logs
from api.server import Server
from api.settings import ServiceSettings
from api.workers import calm_collector
from ledger.errors import ChipPassportError, ConfigurationError
from ledger.service.node import Node

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0


class ServerThread:
    """``with ServerThread(node) as service: Client(service.url)``; the node stays the caller's."""

    def __init__(
        self,
        node: Node,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: ServiceSettings | None = None,
    ) -> None:
        self.server = Server(node, host=host, port=port, settings=settings)
        self.url = self.server.url
        self._fault: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT_S) or self._fault is not None:
            raise ConfigurationError("the service did not start") from self._fault
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.stop()
        self._thread.join(STOP_TIMEOUT_S)
        if self._fault is not None and error is None:
            raise self._fault

    def _run(self) -> None:
        try:
            self.server.run(on_ready=lambda _url: self._ready.set())
        except BaseException as error:
            self._fault = error
        finally:
            self._ready.set()


class ServerProcess:
    """A service in a child process, with an interpreter lock of its own.

    ``open_node`` is called in the child, so it has to be picklable: a function of a module, or a
    ``functools.partial`` of one. The child stops in order when the block ends, and also when this
    process dies. It ignores an interrupt from the terminal, which this process answers to.
    """

    def __init__(
        self,
        open_node: Callable[[], Node],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        settings: ServiceSettings | None = None,
        log_level: str = "warning",
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._child = child
        self._process = context.Process(
            target=_serve,
            args=(child, open_node, host, port, settings, log_level),
            name="chip-passport-service",
        )
        self.url = ""

    @property
    def pid(self) -> int | None:
        """Process id of the child."""
        return self._process.pid

    def __enter__(self) -> Self:
        """Raises the child's ConfigurationError or IntegrityError if it could not start."""
        self._process.start()
        self._child.close()
        answer = self._receive(START_TIMEOUT_S)
        if isinstance(answer, str):
            self.url = answer
            return self
        self._process.join(STOP_TIMEOUT_S)
        raise answer or ConfigurationError("the service process ended before it was ready")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raises the IntegrityError that stopped the service, if one did."""
        fault = self._ask_to_stop()
        self._process.join(STOP_TIMEOUT_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()
        if fault is not None and error is None:
            raise fault

    def _ask_to_stop(self) -> ChipPassportError | None:
        with contextlib.suppress(OSError):  # it is gone already
            self._pipe.send("stop")
        answer = self._receive(STOP_TIMEOUT_S)
        return answer if isinstance(answer, ChipPassportError) else None

    def _receive(self, timeout_s: float) -> str | ChipPassportError | None:
        """What the child tells: its URL, or its fault; None when it says nothing more."""
        try:
            if not self._pipe.poll(timeout_s):
                return None
            answer = self._pipe.recv()
        except (EOFError, OSError):
            return None
        return answer if isinstance(answer, str | ChipPassportError) else None


def _serve(
    pipe: Connection,
    open_node: Callable[[], Node],
    host: str,
    port: int,
    settings: ServiceSettings | None,
    log_level: str,
) -> None:
    """Body of the child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logs.configure(level=log_level)
    try:
        node = open_node()
        try:
            server = Server(node, host=host, port=port, settings=settings)
            threading.Thread(target=_watch, args=(pipe, server), daemon=True).start()
            calm_collector()
            server.run(on_ready=pipe.send, signals=(signal.SIGTERM,))
        finally:
            node.close()
    except ChipPassportError as error:
        pipe.send(error)
    finally:
        pipe.close()


def _watch(pipe: Connection, server: Server) -> None:
    """Stop when told to, or when the parent process is gone."""
    with contextlib.suppress(EOFError, OSError):
        pipe.recv()
    server.stop()
