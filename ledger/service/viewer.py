"""Who asks, and so what may be shown: roles of readers, which are not the roles of parties."""

from dataclasses import dataclass
from enum import StrEnum

from ledger.protocol.statements import Kind


class AccessRole(StrEnum):
    """What a reader may see; everybody has ``public`` without a token."""

    PUBLIC = "public"
    HOLDER = "holder"
    OFFICER = "officer"
    AUDITOR = "auditor"


PUBLIC_KINDS = frozenset({Kind.GENESIS, Kind.PARTY, Kind.POLICY, Kind.EPOCH, Kind.INDEX_ROOT})
"""Statements about the ledger and its rules, not about chips: anybody may read them."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """A reader. ``party``: the custodian for whom a holder's token was made."""

    role: AccessRole
    party: str | None = None

    @property
    def sees_everything(self) -> bool:
        """Every statement of every chip."""
        return self.role in (AccessRole.OFFICER, AccessRole.AUDITOR)

    def sees_kind(self, kind: Kind) -> bool:
        """Whether any statement of this kind may be shown, whatever chip it is about."""
        return self.sees_everything or kind in PUBLIC_KINDS


EVERYBODY = Viewer(AccessRole.PUBLIC)
"""Without a token."""

OPEN = Viewer(AccessRole.AUDITOR)
"""Where a ledger is open to everybody, and for whoever reads its database directly."""
