"""Where answers come from: a database read directly, or a service. Both answer alike."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from api.cli.errors import UsageError
from api.cli.options import (
    DATABASE_VARIABLE,
    DEMO_DATABASE,
    SERVICE_URL,
    TOKEN_VARIABLE,
    URL_VARIABLE,
)
from ledger.errors import Reason, Refused
from ledger.values import parse_ueid

if TYPE_CHECKING:
    from api.client import Client
    from ledger.service.reader import Reader
    from ledger.service.views import Page

PAGE = 1_000
FEW = 8
"""Passports fetched at a time to find the one that a beginning means."""
MIN_PREFIX = 8
"""Hex digits that a shortened UEID has at least; the first two are the same for most chips."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which chips to list; None leaves a column open."""

    state: str | None = None
    holder: str | None = None
    country: str | None = None
    model: str | None = None


class Source(Protocol):
    """A ledger that answers questions. UEIDs are in hex; items are as in ``/v1``, in order."""

    def devices(self, wanted: Filter) -> Iterator[dict[str, Any]]:
        """Passports in order of UEID."""

    def devices_from(self, start: str) -> Iterator[dict[str, Any]]:
        """Passports of all chips whose UEID begins with or comes after ``start``."""

    def history(self, ueid: str) -> Iterator[dict[str, Any]]:
        """A chip's entries, oldest first; an unknown chip is ``Refused``."""

    def decisions(self, ueid: str | None, action: str | None) -> Iterator[dict[str, Any]]:
        """Decisions, oldest first."""

    def bundle(self, ueid: str, *, redacted: bool) -> bytes:
        """A chip's passport bundle."""

    def checkpoint(self) -> bytes:
        """The newest checkpoint, a signed note."""

    def proof(self, index: int) -> bytes:
        """The proof file of an entry."""


class DatabaseSource:
    """Reads the ledger's tables without a service."""

    def __init__(self, reader: "Reader") -> None:
        self._reader = reader

    def devices(self, wanted: Filter) -> Iterator[dict[str, Any]]:
        return self._devices(wanted, None, PAGE)

    def devices_from(self, start: str) -> Iterator[dict[str, Any]]:
        # Pages go on behind a whole number of bytes, so begin a byte early and skip.
        before = start[: (len(start) - 1) // 2 * 2]
        few = self._devices(Filter(), before, FEW)
        return (item for item in few if item["ueid"] >= start)

    def history(self, ueid: str) -> Iterator[dict[str, Any]]:
        raw = bytes.fromhex(ueid)
        return _items(lambda after: self._reader.history(raw, _number(after), PAGE))

    def decisions(self, ueid: str | None, action: str | None) -> Iterator[dict[str, Any]]:
        raw = None if ueid is None else bytes.fromhex(ueid)
        return _items(lambda after: self._reader.decisions(raw, action, _number(after), PAGE))

    def bundle(self, ueid: str, *, redacted: bool) -> bytes:
        return self._reader.bundle(bytes.fromhex(ueid), redacted=redacted)

    def checkpoint(self) -> bytes:
        return self._reader.checkpoint()

    def proof(self, index: int) -> bytes:
        return self._reader.proof(index)

    def _devices(self, wanted: Filter, start: str | None, size: int) -> Iterator[dict[str, Any]]:
        from ledger.service.views import PassportFilter

        columns = PassportFilter(wanted.state, wanted.holder, wanted.country, wanted.model)

        def page(after: str | None) -> "Page":
            behind = after or start
            raw = None if behind is None else bytes.fromhex(behind)
            return self._reader.passports(columns, raw, size)

        return _items(page)


class ServiceSource:
    """Asks a running service."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def devices(self, wanted: Filter) -> Iterator[dict[str, Any]]:
        return self._client.devices(
            state=wanted.state, holder=wanted.holder, country=wanted.country, model=wanted.model
        )

    def devices_from(self, start: str) -> Iterator[dict[str, Any]]:
        return (item for item in self._client.devices() if item["ueid"] >= start)

    def history(self, ueid: str) -> Iterator[dict[str, Any]]:
        from api.client import ClientError

        try:
            yield from self._client.history(ueid)
        except ClientError as error:
            if error.reason == Reason.CHIP_UNKNOWN:
                raise Refused(Reason.CHIP_UNKNOWN, f"no chip {ueid}", field="ueid") from error
            raise

    def decisions(self, ueid: str | None, action: str | None) -> Iterator[dict[str, Any]]:
        return self._client.decisions(ueid=ueid, action=action)

    def bundle(self, ueid: str, *, redacted: bool) -> bytes:
        return self._client.bundle(ueid, redacted=redacted)

    def checkpoint(self) -> bytes:
        return self._client.checkpoint()

    def proof(self, index: int) -> bytes:
        return self._client.proof(index)


@contextmanager
def open_source(
    database: str | None, url: str | None, token_file: Path | None = None
) -> Iterator[Source]:
    """The source that options, environment and defaults name, in this order.

    A token file is for a service: with it no database is looked for.
    """
    if database and url:
        raise UsageError("--database and --url exclude each other; give one of them")
    if database and token_file:
        raise UsageError(
            "--token-file is for a service; whoever can read the database needs no token"
        )
    if token_file:
        url = url or os.environ.get(URL_VARIABLE) or SERVICE_URL
    if not database and not url:
        database = os.environ.get(DATABASE_VARIABLE)
        url = None if database else os.environ.get(URL_VARIABLE)
    if not database and not url and Path(DEMO_DATABASE).exists():
        database = DEMO_DATABASE
    if database:
        with _open_database(database) as found:
            yield found
    else:
        with _open_service(url, access_token(token_file)) as asked:
            yield asked


@contextmanager
def _open_database(database: str) -> Iterator[Source]:
    from ledger.service.reader import Reader

    reader = Reader.open(database)
    try:
        yield DatabaseSource(reader)
    finally:
        reader.close()


@contextmanager
def explained_access(token: str | None) -> Iterator[None]:
    """Say what to do where a service wants a token, another one, or one that sees more."""
    from api.client import RequestRefused

    try:
        yield
    except RequestRefused as error:
        if error.reason == Reason.TOKEN_REQUIRED:
            raise UsageError(
                "the service shows this to known readers only; give it an access token with "
                f"--token-file, or in {TOKEN_VARIABLE}"
            ) from error
        if error.reason in (Reason.TOKEN_INVALID, Reason.TOKEN_SCOPE):
            where = "" if token is None else "; ask the operator of the service for another token"
            raise UsageError(f"{error}{where}") from error
        raise


def access_token(token_file: Path | None) -> str | None:
    """The access token in a file that only its owner may read, or in the environment.

    It is never named in an error, and no option takes it: whoever lists processes would see it.
    """
    if token_file is None:
        return os.environ.get(TOKEN_VARIABLE, "").strip() or None
    try:
        if token_file.stat().st_mode & 0o077:
            raise UsageError(f"{token_file} is open to others; run: chmod 600 {token_file}")
        text = token_file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise UsageError(f"cannot read {token_file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{token_file} holds no access token") from error
    if not text:
        raise UsageError(f"{token_file} holds no access token")
    return text


@contextmanager
def _open_service(url: str | None, token: str | None) -> Iterator[Source]:
    from api.client import Client, Unreachable

    try:
        with explained_access(token), Client(url or SERVICE_URL, attempts=2, token=token) as client:
            yield ServiceSource(client)
    except Unreachable as error:
        if url is not None:
            raise UsageError(
                f"no service answers at {error}; start one with: chip-passport serve"
            ) from error
        raise UsageError(
            f"there is no ledger at {DEMO_DATABASE} and no service at {SERVICE_URL}; "
            "run: chip-passport demo, or name a ledger with --database or --url"
        ) from error


def default_database(database: str | None) -> str:
    """The database that option, environment or default name, for commands that need one."""
    found = database or os.environ.get(DATABASE_VARIABLE)
    if found:
        return found
    if Path(DEMO_DATABASE).exists():
        return DEMO_DATABASE
    raise UsageError(
        f"there is no ledger at {DEMO_DATABASE}; run: chip-passport demo, or name one with "
        "--database"
    )


def full_ueid(source: Source, text: str) -> str:
    """The chip that ``text`` names: its UEID in hex, or enough of its beginning."""
    start = text.lower()
    if _is_complete(start):
        return start
    if len(start) < MIN_PREFIX or not all(digit in "0123456789abcdef" for digit in start):
        raise UsageError(
            f"{text!r} is no chip's number: give its UEID in hexadecimal, or the first "
            f"{MIN_PREFIX} digits of it or more"
        )
    found: list[str] = []
    for item in source.devices_from(start):
        if not item["ueid"].startswith(start) or len(found) == 2:
            break
        found.append(item["ueid"])
    if not found:
        raise UsageError(f"no chip {start} on this ledger; list them with: chip-passport devices")
    if len(found) > 1:
        raise UsageError(
            f"{start} is the beginning of several chips, such as {' and '.join(found)}; "
            "give more digits"
        )
    return found[0]


def _is_complete(text: str) -> bool:
    try:
        return parse_ueid(text).hex() == text
    except Refused:
        return False


def _items(page: "Callable[[str | None], Page]") -> Iterator[dict[str, Any]]:
    """Items of all pages."""
    after: str | None = None
    while True:
        found = page(after)
        yield from found.items
        if found.next is None:
            return
        after = found.next


def _number(after: str | None) -> int | None:
    return None if after is None else int(after)
