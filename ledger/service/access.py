"""Whether a reader may see all about a chip, decided beside the read, in its transaction."""

from sqlalchemy import Connection

from ledger.errors import Reason, Refused
from ledger.service.viewer import Viewer
from ledger.store.registry_rows import StoreRegistry


def require_known(viewer: Viewer) -> None:
    """Refused (TOKEN_REQUIRED) for the public."""
    if viewer.is_public:
        raise Refused(Reason.TOKEN_REQUIRED, "this is shown to known readers only")


def require_chip(connection: Connection, viewer: Viewer, ueid: bytes) -> None:
    """Refused unless the viewer may see all about this chip.

    TOKEN_REQUIRED for the public; TOKEN_SCOPE for a holder of whose chips it is none, which may
    be one that the ledger does not know.
    """
    require_known(viewer)
    if viewer.sees_everything:
        return
    chip = StoreRegistry(connection).find_chip(ueid)
    if chip is None or not viewer.sees_chips_of(chip.holder):
        raise Refused(Reason.TOKEN_SCOPE, f"{viewer.party} does not hold this chip", field="ueid")
