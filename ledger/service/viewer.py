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


PUBLIC_KINDS = frozenset(
    {Kind.GENESIS, Kind.POLICY, Kind.EPOCH, Kind.INDEX_ROOT, Kind.LANDMARK_DIRECTORY}
)
"""Statements about the ledger and its rules: anybody may read them. Registrations of parties are
not among them: with the parties' ids the subject keys in public leaves say who dealt with whom."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """A reader. ``party``: the custodian for whom a holder's token was made."""

    role: AccessRole
    party: str | None = None

    @property
    def sees_everything(self) -> bool:
        """All about every chip."""
        return self.role in (AccessRole.OFFICER, AccessRole.AUDITOR)

    @property
    def is_public(self) -> bool:
        """Somebody without a token."""
        return self.role is AccessRole.PUBLIC

    def sees_kind(self, kind: Kind) -> bool:
        """Whether any statement of this kind may be shown in bulk, whatever chip it is about.

        An auditor replays the ledger; an officer looks at chips, and needs no copy of all of it.
        """
        return self.role is AccessRole.AUDITOR or kind in PUBLIC_KINDS

    def sees_chips_of(self, holder: str) -> bool:
        """Whether all about a chip may be shown that this party holds now."""
        return self.sees_everything or (self.role is AccessRole.HOLDER and self.party == holder)


EVERYBODY = Viewer(AccessRole.PUBLIC)
"""Without a token."""

OPEN = Viewer(AccessRole.AUDITOR)
"""Where a ledger is open to everybody, and for whoever reads its database directly."""
