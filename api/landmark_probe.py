"""The chip's side of ranging over UDP. In a real chip it runs inside the root of trust."""

import socket
import time
from collections.abc import Callable, Iterator

from ledger.errors import ConfigurationError, Refused
from ledger.protocol import ranging
from ledger.protocol.keys import SigningKey
from ledger.protocol.ranging import Challenge, Datagram, Prover, Result

TIMEOUT_S = 1.0
OPENING_TRIES = 3


def range_with(
    address: tuple[str, int],
    prover: Prover,
    signer: SigningKey,
    probes: int,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Result | None:
    """One session with the landmark at ``address``: its result, or None where none came.

    ``prover`` has at least ``probes`` secrets. A probe whose challenge does not come within
    ``timeout_s`` is given up. ConfigurationError where the address cannot be reached at all.
    """
    try:
        with _connected(address) as line:
            return _session(line, prover, signer, probes, timeout_s)
    except OSError as error:
        raise ConfigurationError(
            f"cannot range with {address[0]} port {address[1]}: {error.strerror or error}"
        ) from error


def _session(
    line: socket.socket, prover: Prover, signer: SigningKey, probes: int, timeout_s: float
) -> Result | None:
    answered = False
    for number in range(probes):
        line.send(prover.commit(number))
        for message in _messages(line, timeout_s):
            if isinstance(message, Result):
                return message  # refused before it began
            if isinstance(message, Challenge) and message.probe == number:
                line.send(prover.answer(message))
                answered = True
                break
    if not answered:
        return None
    opening = prover.open(signer)
    for _ in range(OPENING_TRIES):
        line.send(opening)
        for message in _messages(line, timeout_s):
            if isinstance(message, Result):
                return message
    return None


def _messages(line: socket.socket, timeout_s: float) -> Iterator[Datagram]:
    """What comes in until the time is over; what cannot be read is passed over."""
    end = time.monotonic() + timeout_s
    while (left := end - time.monotonic()) > 0:
        line.settimeout(left)
        try:
            yield ranging.decode(line.recv(ranging.MAX_DATAGRAM + 1))
        except TimeoutError:
            return
        except (Refused, ConnectionRefusedError):
            continue


def _connected(address: tuple[str, int]) -> socket.socket:
    found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, target = found[0]
    line = socket.socket(family, kind, protocol)
    try:
        line.connect(target)
    except OSError:
        line.close()
        raise
    return line


def fresh_prover(
    ueid: bytes, epoch: bytes, landmark: str, probes: int, draw: Callable[[int], bytes]
) -> Prover:
    """A prover with a session id and secrets from ``draw``."""
    secrets = [draw(ranging.SECRET_SIZE) for _ in range(probes)]
    return Prover(ueid, epoch, landmark, draw(ranging.SESSION_SIZE), secrets)
