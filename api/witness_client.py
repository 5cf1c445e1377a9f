"""Asks a witness for its cosignature, per C2SP tlog-witness, and verifies what it answers."""

import re
from collections.abc import Callable, Sequence
from http import HTTPStatus

import httpx

from api.connection import Connected
from ledger.errors import ChipPassportError, Refused
from ledger.log.checkpoint import Checkpoint
from ledger.log.cosignature import CosignatureVerifier
from ledger.log.merkle import MAX_SIZE
from ledger.log.note import MAX_NOTE_SIZE, Note, NoteSignature, open_note, parse_note
from ledger.log.witness import AddCheckpoint

TIMEOUT_S = 10.0
ATTEMPTS = 3
"""The first may name an old size, the second meets another publisher; more is a fault."""
SIZE_TYPE = "text/x.tlog.size"
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")

Prove = Callable[[int], Sequence[bytes]]
"""Gives the consistency proof from an old size to the checkpoint's; empty from 0."""


class WitnessError(ChipPassportError):
    """No cosignature: ``status`` is the HTTP status, None where no answer came."""

    def __init__(self, message: str, *, status: int | None = None, retry: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.retry = retry
        """Whether the same request may succeed later."""


class WitnessAhead(WitnessError):
    """The witness has cosigned a larger tree of this log: the log was rolled back, or cloned."""

    def __init__(self, witness_size: int, size: int) -> None:
        super().__init__(
            f"the witness has cosigned size {witness_size}, this checkpoint has {size}; "
            "was an old backup restored?",
            status=HTTPStatus.CONFLICT,
        )
        self.witness_size = witness_size


class WitnessContradicts(WitnessError):
    """The witness says that it has cosigned a tree that this one does not extend: a fork."""


class WitnessClient(Connected):
    """One witness at a submission prefix ``url``; ``keys`` are the ones that count.

    Not for use by several threads at once. Remembers, for each origin, the size that the witness
    has cosigned, so that one request is usually enough.
    """

    def __init__(
        self,
        url: str,
        keys: Sequence[CosignatureVerifier],
        *,
        timeout: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.keys = tuple(keys)
        self._sizes: dict[str, int] = {}
        # No compression: the answer is random bytes in base64, and a bomb would be a risk.
        headers = {"Accept-Encoding": "identity", "Content-Type": "text/plain; charset=utf-8"}
        self._http = httpx.Client(timeout=timeout, transport=transport, headers=headers)

    def cosign(self, note: bytes, prove: Prove) -> tuple[NoteSignature, ...]:
        """The witness's verified signature lines for a signed checkpoint, at least one.

        ``prove`` is called with the witness's old size, again where the witness names another.
        Raises WitnessAhead and WitnessContradicts (the log must stop), WitnessError otherwise.
        """
        parsed = parse_note(note)
        checkpoint = Checkpoint.decode(parsed.text)
        # Above the checkpoint's size is no old size; the witness tells.
        old = min(self._sizes.get(checkpoint.origin, 0), checkpoint.size)
        for _ in range(ATTEMPTS):
            response = self._post(AddCheckpoint(old, tuple(prove(old)), note).encode())
            if response.status_code == HTTPStatus.OK:
                signatures = self._verified(parsed, response.content)
                self._sizes[checkpoint.origin] = checkpoint.size
                return signatures
            named = _conflicting_size(response)
            self._sizes[checkpoint.origin] = named
            if named > checkpoint.size:
                raise WitnessAhead(named, checkpoint.size)
            if named == old:
                raise WitnessContradicts(
                    f"the witness has cosigned another tree of size {named}",
                    status=response.status_code,
                )
            old = named
        raise WitnessError(
            "the witness keeps naming other sizes", status=HTTPStatus.CONFLICT, retry=True
        )

    def _post(self, body: bytes) -> httpx.Response:
        try:
            with self._http.stream("POST", f"{self.url}/add-checkpoint", content=body) as response:
                kind = response.headers.get("content-type", "")
                return httpx.Response(
                    response.status_code, headers={"Content-Type": kind}, content=_limited(response)
                )
        except httpx.HTTPError as error:
            raise WitnessError(
                f"the witness does not answer: {type(error).__name__}", retry=True
            ) from error

    def _verified(self, note: Note, lines: bytes) -> tuple[NoteSignature, ...]:
        try:
            _, signatures = open_note(note.text + b"\n" + lines, self.keys)
        except Refused as error:
            raise WitnessError(
                f"the witness's answer is no cosignature of ours: {error.detail}",
                status=HTTPStatus.OK,
            ) from error
        return signatures


def _limited(response: httpx.Response) -> bytes:
    parts, size = [], 0
    for part in response.iter_bytes():
        size += len(part)
        if size > MAX_NOTE_SIZE:
            raise WitnessError("the witness's answer is too large", status=response.status_code)
        parts.append(part)
    return b"".join(parts)


def _conflicting_size(response: httpx.Response) -> int:
    """The size that a 409 names; every other answer is an error."""
    status = response.status_code
    kind = response.headers.get("content-type", "").partition(";")[0].strip()
    match = _SIZE.fullmatch(response.content)
    if status == HTTPStatus.CONFLICT and kind == SIZE_TYPE and match and int(match[1]) < MAX_SIZE:
        return int(match[1])
    words = "".join(c for c in response.text[:200] if c.isprintable())
    message = f"the witness answers {status}: {words}"
    # The proof that does not verify was made from this log's own tree, from the witness's size.
    forked = status == HTTPStatus.CONFLICT and kind != SIZE_TYPE
    if forked or status == HTTPStatus.UNPROCESSABLE_ENTITY:
        raise WitnessContradicts(message, status=status)
    retry = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS
    raise WitnessError(message, status=status, retry=retry)
