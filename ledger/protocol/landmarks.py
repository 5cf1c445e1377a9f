"""Statements about landmarks: the directory of them, and the reports of what they measured."""

from itertools import pairwise
from typing import Annotated

from pydantic import Field, StringConstraints

from ledger.errors import Reason, Refused
from ledger.protocol.fields import (
    Digest32,
    Latitude,
    Longitude,
    PartyId,
    Seconds,
    ShortText,
    StatementModel,
    UeidBytes,
)
from ledger.protocol.ranging import EPOCH_SIZE, MAX_ROUND_TRIP_US
from ledger.values import check_ueid

MAX_ROWS = 256
"""Rows of a report: with the longest UEIDs they fit a statement."""
Address = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,100}:[0-9]{1,5}$")]
"""Host or address in text and a UDP port; an IPv6 address stands in square brackets."""


class Landmark(StatementModel):
    """One entry of the directory."""

    id: PartyId
    """Party id of the landmark."""
    operator: PartyId
    """Who runs it, in the end: up to f liars are counted by operator, not by landmark."""
    latitude: Latitude
    longitude: Longitude
    addresses: Annotated[list[Address], Field(max_length=4)]
    suspended: ShortText | None = None
    """Why its measurements do not count at present."""


class LandmarkDirectory(StatementModel):
    """``landmark-directory``: signed by the authority; versions count up by one from 1.

    Each version names every landmark; one that is left out is none any more.
    """

    iat: Seconds
    version: Annotated[int, Field(ge=1, le=2**31)]
    landmarks: Annotated[list[Landmark], Field(min_length=1, max_length=256)]

    def find(self, ident: str) -> Landmark | None:
        """The entry of that landmark."""
        return next((entry for entry in self.landmarks if entry.id == ident), None)


class RangingRow(StatementModel):
    """What one chip's session with the landmark gave."""

    ueid: UeidBytes
    round_trip_us: Annotated[int, Field(ge=1, le=MAX_ROUND_TRIP_US)]
    """Least of the probes, rounded up: nothing may make the distance smaller than it can be."""
    probes: Annotated[int, Field(ge=1, le=64)]
    transcript: Digest32
    """SHA-256 of the transcript that the chip signed."""


class RangingReport(StatementModel):
    """``ranging-report``: a landmark says how far away chips were at most, in one epoch."""

    iat: Seconds
    landmark: PartyId
    """The signer, named once more for those who see no more than one row."""
    epoch: Annotated[bytes, Field(min_length=EPOCH_SIZE, max_length=EPOCH_SIZE)]
    """Id of the epoch that the chips committed to."""
    directory: Annotated[int, Field(ge=1, le=2**31)]
    """Version of the landmark directory in force."""
    rows: Annotated[list[RangingRow], Field(min_length=1, max_length=MAX_ROWS)]
    root: Digest32
    """Root of the Merkle tree over the rows."""
    rows_signature: Annotated[bytes, Field(min_length=64, max_length=96)]
    """The landmark's signature over the root, so that one row can be shown alone."""


def check_landmarks(landmarks: list[Landmark]) -> None:
    """Refuse a directory that names a landmark twice."""
    if len({entry.id for entry in landmarks}) != len(landmarks):
        raise Refused(Reason.FIELD_INVALID, "each landmark once", field="landmarks")


def check_rows(rows: list[RangingRow]) -> None:
    """Refuse malformed UEIDs, and rows that are not in order of UEID, each once."""
    ueids = [check_ueid(row.ueid) for row in rows]
    if any(first >= second for first, second in pairwise(ueids)):
        raise Refused(Reason.FIELD_INVALID, "rows in order of UEID, each once", field="rows")
