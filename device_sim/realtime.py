"""The only module that knows real time: it waits until a moment of the ledger's has come."""

import time
from collections.abc import Callable

from ledger.values import MILLIS_PER_SECOND

Pace = Callable[[int], None]
"""Returns when the ledger's clock has reached that many milliseconds."""

_LONGEST_NAP_S = 1.0


def real_pace(ledger_now_ms: int) -> Pace:
    """Waits against a ledger whose clock shows ``ledger_now_ms`` at this moment.

    Measured by the monotonic clock from here on, so that it does not matter what this machine's
    own calendar says.
    """
    began = time.monotonic()

    def wait_until(ledger_ms: int) -> None:
        due = began + (ledger_ms - ledger_now_ms) / MILLIS_PER_SECOND
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, _LONGEST_NAP_S))

    return wait_until
