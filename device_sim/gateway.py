"""What a run needs of a ledger: the part of ``api.client.Client`` that it uses.

``Client`` is one; tests have a party in memory. A refusal of a single message is a result, never an
exception; ``ChipPassportError`` means that the ledger cannot be used at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from api.client import ClientError
from ledger.errors import Reason


class LeaseView(Protocol):
    """Permission to run until a time."""

    @property
    def id(self) -> bytes:
        """16 bytes."""

    @property
    def until_ms(self) -> int:
        """Ledger time at which it ends."""


class DirectiveView(Protocol):
    """A chip's latest decision."""

    @property
    def sequence(self) -> int:
        """Number of the decision."""

    @property
    def action(self) -> str:
        """hold, release or revoke."""

    @property
    def digest(self) -> bytes:
        """Statement digest, 32 bytes."""


class ResultView(Protocol):
    """What became of one message."""

    @property
    def status(self) -> str:
        """accepted, recorded or refused."""

    @property
    def reason(self) -> str | None:
        """Reason code, where it was not accepted."""

    @property
    def detail(self) -> str | None:
        """The reason in words."""

    @property
    def lease(self) -> LeaseView | None:
        """For an accepted heartbeat."""

    @property
    def directive(self) -> DirectiveView | None:
        """For a heartbeat of a chip with a decision."""


class EpochView(Protocol):
    """The current epoch."""

    @property
    def id(self) -> bytes:
        """The nonce of heartbeats."""


class Gateway(Protocol):
    """A ledger as the simulated parties meet it."""

    def ledger(self) -> Mapping[str, Any]:
        """GET /v1/ledger."""

    def set_clock(self, now_ms: int, /) -> Any:
        """POST /v1/clock."""

    def epoch(self) -> EpochView:
        """GET /v1/epoch."""

    def post_heartbeats(self, tokens: list[bytes], /) -> Sequence[ResultView]:
        """POST /v1/heartbeats; one result for each token, in order."""

    def post_statements(self, tokens: list[bytes], /) -> Sequence[ResultView]:
        """POST /v1/statements; one result for each token, in order."""

    def device(self, ueid: str, /) -> Mapping[str, Any]:
        """GET /v1/devices/{ueid}: the passport; ``ClientError`` for an unknown chip."""

    def devices(self) -> Iterable[Mapping[str, Any]]:
        """GET /v1/devices: every passport."""

    def decisions(self, *, ueid: str | None = None) -> Iterable[Mapping[str, Any]]:
        """GET /v1/decisions: in order of the log."""

    def checkpoint(self) -> bytes:
        """GET /log/checkpoint."""


def find_device(gateway: Gateway, ueid: str) -> Mapping[str, Any] | None:
    """A chip's passport, or None where the ledger does not know the chip."""
    try:
        return gateway.device(ueid)
    except ClientError as error:
        if error.reason == Reason.CHIP_UNKNOWN:
            return None
        raise
