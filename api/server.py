"""Runs the HTTP service: binds, tells when it is ready, does the once-a-second work, stops."""

import functools
import signal
import threading
from collections.abc import Callable, Sequence

import structlog

from api.app import create_app
from api.cosigning import Cosigning
from api.listening import STOP_SIGNALS, Listener
from api.logs import place
from api.metrics import Metrics
from api.settings import ServiceSettings
from api.witness_client import WitnessClient
from ledger.errors import ChipPassportError, IntegrityError
from ledger.log.cosignature import CosignatureVerifier
from ledger.service.node import Node

TICK_S = 1.0
"""Between two looks at epochs and verifier."""
CHECKPOINT_S = 1.0
"""Between two checkpoints: even with the time that publishing takes, an entry waits under 2 s."""

_log = structlog.get_logger("api.server")


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
        checkpoint_s: float = CHECKPOINT_S,
        witnesses: Sequence[WitnessClient] = (),
        auditors: Sequence[CosignatureVerifier] = (),
    ) -> None:
        """Raises ConfigurationError where the address cannot be had.

        On a real clock a checkpoint is published every ``checkpoint_s`` seconds if the log has
        grown. ``witnesses`` are asked to cosign each; they are closed when ``run`` ends.
        ``auditors`` may hand in their cosignatures.
        """
        self._node = node
        self._fatal: BaseException | None = None
        limits = settings or ServiceSettings()
        self.app = create_app(node, settings=limits, on_fatal=self._stop_for, auditors=auditors)
        self._listener = Listener(
            self.app,
            host=host,
            port=port,
            lifespan=True,
            patience_s=limits.upload_timeout_s,
            max_connections=limits.max_connections,
        )
        self._checkpoint_s = checkpoint_s
        self._cosigning = Cosigning(node, witnesses, self._stop_for)

    @property
    def url(self) -> str:
        """Base URL of the service."""
        return self._listener.url

    def run(
        self,
        *,
        on_ready: Callable[[str], None] | None = None,
        signals: Sequence[signal.Signals] = STOP_SIGNALS,
    ) -> None:
        """Serve until ``stop``, or until one of ``signals`` where this is the main thread.

        ``on_ready`` is called with the URL once requests are answered. Requests under way are
        finished first. Raises the IntegrityError that stopped the service, if one did, and
        ConfigurationError where a witness knows more of the ledger than is here.
        """
        node, metrics = self._node, self.app.state.metrics
        regular = [
            Ticker(functools.partial(node.tick, publish=False), TICK_S, metrics, self._stop_for),
            Ticker(node.publish, self._checkpoint_s, metrics, self._stop_for),
        ]
        try:
            self._cosigning.start()
            if node.status().clock_mode == "real":
                for ticker in regular:
                    ticker.start()
            self._listener.run(on_ready=on_ready, signals=signals)
        finally:
            for ticker in regular:
                ticker.stop()
            self._cosigning.stop()
            self._listener.close()
        if self._fatal is not None:
            raise self._fatal

    def stop(self) -> None:
        """Ask ``run`` to end, from any thread; before ``run``, it ends as soon as it starts."""
        self._listener.stop()

    def close(self) -> None:
        """Give up a server that was never run."""
        self._listener.close()

    def _stop_for(self, error: BaseException) -> None:
        if self._fatal is None:
            self._fatal = error
            _log.critical("stopping: nothing may be signed any more", error=str(error))
        self.stop()


class Ticker:
    """Does regular work again and again, ``every_s`` seconds apart, in a thread of its own."""

    def __init__(
        self,
        work: Callable[[], object],
        every_s: float,
        metrics: Metrics,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._work = work
        self._every_s = every_s
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
            self._stopping.wait(self._every_s)

    def _once(self) -> bool:
        """One call; False where there must not be another. Other faults are tried again."""
        try:
            self._work()
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
