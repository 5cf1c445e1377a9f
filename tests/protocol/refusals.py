"""What the tests of decoders share: expecting a refusal, and changing valid bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import strategies as st

from ledger.errors import Reason, Refused


@contextmanager
def refused(reason: Reason, field: str | None = None) -> Iterator[None]:
    """Expect ``Refused`` with this reason, and this field where one is named."""
    with pytest.raises(Refused) as caught:
        yield
    assert caught.value.reason is reason
    if field is not None:
        assert caught.value.field == field


def only_refusals(decoder: Callable[[bytes], Any], data: bytes) -> Any:
    """The decoder's value, or None after a refusal; any other exception is the test's failure."""
    try:
        return decoder(data)
    except Refused as error:
        refusal = error
    assert refusal.detail
    assert "\n" not in str(refusal)
    return None


@st.composite
def mutations(draw: st.DrawFn, valid: bytes) -> bytes:
    """``valid`` with some bytes changed, removed, doubled or added."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(("set", "flip", "cut", "insert", "double"))):
            case "set" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at : at + draw(st.integers(1, 8))]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case _:
                data[at:at] = data[at : at + draw(st.integers(1, 32))]
    return bytes(data)
