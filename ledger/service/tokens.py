"""Access tokens: made once, shown once, and kept as a digest that tells nobody the secret.

A token's text is ``cpt_<id>_<secret>``: the id is 8 hex digits and no secret, the secret is 32
random bytes in base64url. What is stored is SHA-256 of these bytes. A slow hash, as for passwords,
would add nothing: nobody guesses one of 2^256 secrets, however fast a guess is tried.

Expiry counts in real time, on a simulated ledger too: a token is given to somebody in this world.
"""

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Self

from sqlalchemy import Connection, Engine

from ledger.errors import ConfigurationError, Reason, Refused
from ledger.protocol.fields import is_printable
from ledger.service.viewer import AccessRole, Viewer
from ledger.store.engine import open_engine, reading, writing
from ledger.store.registry_rows import StoreRegistry
from ledger.store.revision import require_current
from ledger.store.token_rows import (
    StoredToken,
    add_token,
    find_token,
    read_tokens,
    revoke_token,
)
from ledger.values import sha256

Random = Callable[[int], bytes]
"""As many random bytes as asked for, as ``secrets.token_bytes`` gives them."""

ID_BYTES, SECRET_BYTES = 4, 32
MAX_LABEL = 64
ATTEMPTS = 8
"""At an id that nobody has: of 2^32 the first is free but for bad luck, or bad randomness."""
_TOKEN = re.compile(r"cpt_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_ID = re.compile(r"[0-9a-f]{8}")
_NOBODYS = bytes(32)
"""No secret is known that has this digest: compared with where there is no such token."""

State = Literal["active", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What is known of a token. Times are milliseconds of real time; ``party``: a holder's."""

    id: str
    role: AccessRole
    party: str | None
    label: str
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None = None

    def state(self, now_ms: int) -> State:
        """Whether it is taken at ``now_ms``; it is not any more at ``expires_ms`` itself."""
        if self.revoked_ms is not None:
            return "revoked"
        expired = self.expires_ms is not None and now_ms >= self.expires_ms
        return "expired" if expired else "active"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token to make; ``lifetime_ms`` None: it does not expire by itself."""

    role: AccessRole
    party: str | None = None
    label: str = ""
    lifetime_ms: int | None = None


def viewer_by_token(connection: Connection, text: str, now_ms: int) -> Viewer:
    """Who asks with this token. Refused (TOKEN_INVALID) unless it is known and in force.

    A token with an unknown id is worked on like one with a wrong secret, and refused in the same
    words.
    """
    match = _TOKEN.fullmatch(text)
    secret = None if match is None else _decoded(match[2])
    if match is None or secret is None:
        raise Refused(Reason.TOKEN_INVALID, "it has not the form of an access token")
    stored = find_token(connection, match[1])
    known = _NOBODYS if stored is None else stored.digest
    good = hmac.compare_digest(sha256(secret), known)
    if stored is None or not good:
        raise Refused(Reason.TOKEN_INVALID, "no such access token is known here")
    token = token_from(stored)
    if token is None:
        raise Refused(Reason.TOKEN_INVALID, "the record of this access token is damaged")
    state = token.state(now_ms)
    if state != "active":
        raise Refused(Reason.TOKEN_INVALID, f"access token {token.id} is {state}")
    return Viewer(token.role, token.party)


def token_from(stored: StoredToken) -> AccessToken | None:
    """A stored token; None where the row is not one that is ever written."""
    try:
        role = AccessRole(stored.role)
    except ValueError:
        return None
    named = stored.party is not None
    fitting = role is not AccessRole.PUBLIC and named == (role is AccessRole.HOLDER)
    if not fitting or _ID.fullmatch(stored.id) is None or len(stored.digest) != len(_NOBODYS):
        return None
    return AccessToken(stored.id, role, stored.party, *stored[4:])


def _decoded(text: str) -> bytes | None:
    """The bytes of a secret; None where another text stands for the same bytes."""
    secret = base64.urlsafe_b64decode(text + "=")
    return secret if _encoded(secret) == text else None


def _encoded(secret: bytes) -> str:
    return base64.urlsafe_b64encode(secret).rstrip(b"=").decode()


class TokenBook:
    """The tokens of a ledger, for its operator; a service may use the ledger meanwhile.

    Each change is one short transaction of its own. It takes no writer's lock, since it touches
    nothing that a writer reads: on SQLite it waits for the database's own lock, as a writer does.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, database: str) -> Self:
        """ConfigurationError where there is no ledger, or one of another schema."""
        engine = open_engine(database, create=False, examine=False)
        try:
            require_current(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def create(self, wanted: Wanted, now_ms: int, random: Random) -> tuple[str, AccessToken]:
        """Make a token; its text is known here and now only.

        ConfigurationError for a party that is missing, superfluous or not registered, and for a
        label that is too long or not printable.
        """
        _require_label(wanted.label)
        secret = random(SECRET_BYTES)
        expires_ms = None if wanted.lifetime_ms is None else now_ms + wanted.lifetime_ms
        stored = StoredToken(
            "",
            sha256(secret),
            wanted.role.value,
            wanted.party,
            wanted.label,
            now_ms,
            expires_ms,
            None,
        )
        with writing(self._engine) as connection:
            _require_party(connection, wanted)
            for _ in range(ATTEMPTS):
                stored = stored._replace(id=random(ID_BYTES).hex())
                if add_token(connection, stored):
                    break
            else:
                raise ConfigurationError("no free token id was found; try again")
        made = AccessToken(stored.id, wanted.role, *stored[3:])
        return f"cpt_{made.id}_{_encoded(secret)}", made

    def tokens(self) -> list[AccessToken]:
        """All, oldest first, those that are no longer in force too."""
        with reading(self._engine) as connection:
            found = [token_from(stored) for stored in read_tokens(connection)]
        return [token for token in found if token is not None]

    def revoke(self, ident: str, now_ms: int) -> AccessToken:
        """Put a token out of force; done before, it stays as it was. ConfigurationError."""
        if _ID.fullmatch(ident) is None:
            raise ConfigurationError(
                "a token's id is the 8 hex digits behind cpt_; list them with: "
                "chip-passport token list"
            )
        with writing(self._engine) as connection:
            revoke_token(connection, ident, now_ms)
            stored = find_token(connection, ident)
        token = None if stored is None else token_from(stored)
        if token is None:
            raise ConfigurationError(
                f"there is no token {ident}; list them with: chip-passport token list"
            )
        return token


def _require_label(label: str) -> None:
    if len(label) > MAX_LABEL or (label and not is_printable(label)):
        raise ConfigurationError(f"a label is one line of at most {MAX_LABEL} characters")


def _require_party(connection: Connection, wanted: Wanted) -> None:
    if wanted.role is AccessRole.PUBLIC:
        raise ConfigurationError("whoever has no token is public; no token is made for that")
    if wanted.role is not AccessRole.HOLDER:
        if wanted.party is not None:
            raise ConfigurationError(
                f"a token of role {wanted.role} sees the chips of all parties; leave --party out"
            )
        return
    if wanted.party is None:
        raise ConfigurationError(
            "a token of role holder shows the chips that one party holds; name it with --party"
        )
    if StoreRegistry(connection).find_party(wanted.party) is None:
        raise ConfigurationError(
            f"no party {wanted.party!r} is registered on this ledger, and a holder's token is "
            "for one that is; check the id, or have the authority register it first"
        )
