"""What the routes of one app share. Made by ``create_app``; there is no other state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.metrics import Metrics
from api.settings import ServiceSettings
from ledger.log.cosignature import CosignatureVerifier
from ledger.service.clock import Clock
from ledger.service.node import Node


@dataclass(frozen=True, slots=True)
class Context:
    """A ledger, the limits, the counters, and whom to tell that the service has to stop."""

    node: Node
    settings: ServiceSettings
    metrics: Metrics
    on_fatal: Callable[[BaseException], None]
    real_time: Clock
    """The world's time, by which access tokens expire; the ledger's own may be simulated."""
    auditors: Sequence[CosignatureVerifier] = ()
    """Whose cosignatures are taken."""
