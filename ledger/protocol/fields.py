"""Field types of statements: strict, frozen, no unknown members."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class StatementModel(BaseModel):
    """Base of every statement body. Strict: ``false`` is not 0, a number is not a text."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True
    )


UInt = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""Unsigned integer that every JSON reader keeps exactly."""
MAX_SECONDS = 253_402_300_799
"""9999-12-31T23:59:59Z: later times fit no calendar that a sentence could be written in."""
Seconds = Annotated[int, Field(ge=0, le=MAX_SECONDS)]
"""Time in seconds since 1970."""
Millis = Annotated[int, Field(ge=0, le=MAX_SECONDS * 1_000 + 999)]
"""Time in milliseconds since 1970."""
PartyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
LicenceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,32}$")]
"""A chip model, 1 to 32 printable ASCII characters without spaces (EAT hwmodel)."""
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2."""
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]+$"
"""No control characters, line ends or changes of writing direction: these texts are shown in
terminals, pages and the words of decisions, and nobody may draw there."""
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
LongText = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=PRINTABLE)]
Digest32 = Annotated[bytes, Field(min_length=32, max_length=32)]
UeidBytes = Annotated[bytes, Field(min_length=7, max_length=33)]
CoseKeyBytes = Annotated[bytes, Field(min_length=32, max_length=160)]
CertificateDer = Annotated[bytes, Field(min_length=64, max_length=4_096)]
ChipList = Annotated[list[UeidBytes], Field(min_length=1, max_length=256)]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]

_PRINTABLE = re.compile(PRINTABLE)


def is_printable(text: str) -> bool:
    """Whether ``text`` is one that statements may carry."""
    return _PRINTABLE.fullmatch(text) is not None
