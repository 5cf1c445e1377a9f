"""Questions to a stored ledger without a node: no keys, no verifier, no borders, nothing written.

A node answers the same questions; whoever only asks need not load what a node is made of.
"""

from typing import Any, Self

from sqlalchemy import Engine

from ledger.errors import Reason, Refused
from ledger.service import history as reads
from ledger.service import passports as passport_reads
from ledger.service.tokens import viewer_by_token
from ledger.service.viewer import OPEN, Viewer
from ledger.service.views import Page, PassportFilter
from ledger.store.engine import open_engine, reading
from ledger.store.revision import require_current


class Reader:
    """A ledger open for reading; the verifier's view is as of its stored position.

    Every question takes a ``viewer``, by default one who sees everything: whoever may read the
    database's file needs no leave of ours. A service passes on who asks.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, database: str) -> Self:
        """Open a ledger; ConfigurationError where there is none, or one of another schema."""
        engine = open_engine(database, read_only=True)
        try:
            require_current(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def viewer(self, token: str, now_ms: int) -> Viewer:
        """Who asks with this access token; ``Refused`` where it is none that is in force."""
        with reading(self._engine) as connection:
            return viewer_by_token(connection, token, now_ms)

    def passports(
        self, wanted: PassportFilter, after: bytes | None, limit: int, *, viewer: Viewer = OPEN
    ) -> Page:
        """Chips in order of UEID from the one behind ``after``."""
        with reading(self._engine) as connection:
            return passport_reads.passports(connection, wanted, after, limit, viewer=viewer)

    def passport(self, ueid: bytes, *, viewer: Viewer = OPEN) -> dict[str, Any]:
        """One chip's passport; an unknown chip is ``Refused``."""
        with reading(self._engine) as connection:
            return passport_reads.passport(connection, ueid, viewer=viewer)

    def history(self, ueid: bytes, after: int | None, limit: int, *, viewer: Viewer = OPEN) -> Page:
        """One chip's entries, oldest first, from the one behind sequence number ``after``."""
        with reading(self._engine) as connection:
            return reads.history(connection, ueid, after, limit, viewer=viewer)

    def bundle(self, ueid: bytes, *, redacted: bool = False, viewer: Viewer = OPEN) -> bytes:
        """One chip's passport bundle under the newest checkpoint; see ``ledger.bundle``."""
        from ledger.service.bundles import bundle_bytes  # other questions need none of it

        with reading(self._engine) as connection:
            return bundle_bytes(connection, ueid, redacted=redacted, viewer=viewer)

    def checkpoint(self) -> bytes:
        """The newest checkpoint, cosignatures included; refused (NOT_FOUND) before the first."""
        from ledger.service.cosigned import cosigned_checkpoint  # other questions need none of it

        with reading(self._engine) as connection:
            note = cosigned_checkpoint(connection)
        if note is None:
            raise Refused(Reason.NOT_FOUND, "no checkpoint is published yet")
        return note

    def proof(self, index: int) -> bytes:
        """The proof file (C2SP tlog-proof) of an entry that a checkpoint covers."""
        from ledger.service.proofs import entry_proof  # other questions need none of it

        with reading(self._engine) as connection:
            return entry_proof(connection, index).encode()

    def decisions(
        self,
        ueid: bytes | None,
        action: str | None,
        after: int | None,
        limit: int,
        *,
        viewer: Viewer = OPEN,
    ) -> Page:
        """Decisions in the log's order from the one behind entry ``after``."""
        with reading(self._engine) as connection:
            return reads.decisions(connection, ueid, action, after, limit, viewer=viewer)
