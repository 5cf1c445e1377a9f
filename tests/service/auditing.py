"""A ledger's read API in this process, and doubles of it that lie."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger.errors import Reason, Refused
from ledger.log.cosignature import parse_vkey
from ledger.log.tiles import tile_path
from ledger.log.trust import TrustedLog, TrustPolicy
from ledger.log.vkey import ED25519, Vkey
from ledger.protocol import statements as st
from ledger.protocol.keys import PublicKey
from ledger.protocol.statements import Kind
from ledger.service.audit.folder import AuditFolder
from ledger.service.audit.outside import AuditReport, AuditSettings, audit
from ledger.service.clock import SimulatedClock
from ledger.service.node import Node, NodeSettings
from ledger.service.viewer import OPEN, Viewer

NAME = "auditor.example/a1"
NOW_MS = 1_800_000_000_000


class NodeSource:
    """What a service serves, without one; ``viewer`` is who asks."""

    def __init__(self, node: Node, viewer: Viewer = OPEN) -> None:
        self._node = node
        self._viewer = viewer

    def checkpoint(self) -> bytes:
        note = self._node.checkpoint()
        assert note is not None
        return note

    def tile(self, level: int, n: int, width: int) -> bytes | None:
        return self._tile(tile_path(level, n, width))

    def bundle(self, n: int, width: int) -> bytes | None:
        return self._tile(tile_path("entries", n, width))

    def statements(self, start: int, limit: int) -> list[bytes | None]:
        return self._node.statements(start, limit, self._viewer)

    def _tile(self, path: str) -> bytes | None:
        try:
            return self._node.tile(path.removeprefix("tile/"))
        except Refused as refusal:
            if refusal.reason is not Reason.TILE_UNKNOWN:
                raise
            return None


class Double:
    """A source of which some answers are changed: ``Double(source, tile=lambda found, ...: ...)``.

    Each change gets the true answer, then what was asked for.
    """

    def __init__(self, source: Any, **changes: Callable[..., Any]) -> None:
        self._source = source
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        asked, change = getattr(self._source, name), self._changes.get(name)
        if change is None:
            return asked
        return lambda *arguments: change(asked(*arguments), *arguments)


def opened(database: Path) -> Node:
    """A ledger's file, read and not changed."""
    return Node.open(NodeSettings(str(database), clock=SimulatedClock(0), read_only=True))


def vkey_of(node: Node) -> str:
    """The ledger's key as its genesis has it."""
    (token,) = node.statements(0, 1, OPEN)
    genesis = st.decode(token or b"", expect=Kind.GENESIS).body
    key = PublicKey.from_cose_key(genesis.ledger)
    return Vkey(genesis.origin, ED25519, key.raw).encode()


def trust_in(vkey: str) -> TrustPolicy:
    """A policy that trusts one log, and asks for no witness."""
    return TrustPolicy((TrustedLog(parse_vkey(vkey)),), (), (), None)


def audited(
    folder: Path, source: Any, vkey: str, *, name: str | None = NAME, **settings: Any
) -> AuditReport:
    """One audit, with the folder opened and given back."""
    clock = settings.pop("clock", None) or SimulatedClock(NOW_MS)
    opened_folder = AuditFolder.open(folder, name)
    try:
        return audit(
            opened_folder,
            source,
            AuditSettings(trust_in(vkey), clock, **settings),
        )
    finally:
        opened_folder.close()


def fault(report: AuditReport) -> str:
    """The one fault, as it is told; nothing was cosigned."""
    assert len(report.faults) == 1
    assert not report.cosigned
    assert not report.matches
    (found,) = report.faults
    return f"{found.place}: {found.problem}"
