"""From the countries that are left to a verdict, and its reasons in words.

``inside``: every country that is left is permitted. ``outside``: none is. ``unproven``: neither.
Beside it ``cleared``: none of them is a prohibited destination. Each of the three proofs needs a
witness (see :mod:`ledger.location.possible`), and more operators than may be wrong.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ledger.geo.names import country_name
from ledger.geo.sphere import Bools
from ledger.location.atlas import Atlas
from ledger.location.possible import Possible

MOST_TOLD = 12
"""Countries that a sentence lists."""

NEAREST_TOLD = 5
"""Of many countries that are excluded, those are told that came nearest to staying possible."""


class Proof(StrEnum):
    """What is proven of a place."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why a country is not possible.

    ``by`` names the landmarks that exclude the whole of it, each with the kilometres by which it
    lies beyond their reach, at least; most first. ``joint`` says that these alone are not enough:
    each place of it is excluded by enough landmarks, but not all places by the same ones.
    """

    country: str
    by: tuple[tuple[str, int], ...]
    joint: bool

    def __str__(self) -> str:
        name = f"{country_name(self.country)} ({self.country})"
        told = " and ".join(f"{landmark} by {km} km" for landmark, km in self.by[:4])
        more = f" and {len(self.by) - 4} more" if len(self.by) > 4 else ""
        if not self.joint:
            return f"{name} is beyond the reach of {told}{more}"
        alone = f"; the whole of it of {told}{more}" if self.by else ""
        return f"{name}: every place is beyond the reach of too many landmarks{alone}"


@dataclass(frozen=True, slots=True)
class LocationVerdict:
    """What is proven of one device's place, and why."""

    proof: Proof
    cleared: bool
    possible: tuple[str, ...]
    contradiction: bool
    exclusions: tuple[Exclusion, ...]
    notes: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences: first what stands in the way of a proof, then what is excluded and why."""
        return (*self.notes, *(str(one) for one in self.exclusions))


@dataclass(frozen=True, slots=True)
class Terms:
    """Permitted and prohibited countries as masks over an atlas's codes; make them once."""

    permitted: Bools
    prohibited: Bools
    undrawn_permitted: tuple[str, ...]
    undrawn_prohibited: tuple[str, ...]

    @staticmethod
    def of(atlas: Atlas, permitted: Collection[str], prohibited: Collection[str]) -> "Terms":
        """Codes that the borders do not draw are kept apart: nothing can exclude them."""
        return Terms(
            atlas.mask(permitted),
            atlas.mask(prohibited),
            tuple(sorted(set(permitted) - set(atlas.codes))),
            tuple(sorted(set(prohibited) - set(atlas.codes))),
        )


def judge(possible: Possible, terms: Terms, required: int = 0) -> LocationVerdict:
    """The verdict; ``required`` is the least number of landmarks that the policy asks for."""
    proof, cleared = decide(possible, terms, required)
    return LocationVerdict(
        proof,
        cleared,
        tuple(sorted(possible.countries)),
        possible.contradiction,
        tuple(_exclusions(possible, _worth_telling(possible, terms, proof, cleared))),
        tuple(_notes(possible, terms, required, proof)),
    )


def decide(possible: Possible, terms: Terms, required: int = 0) -> tuple[Proof, bool]:
    """The verdict without reasons: what is proven, and whether the device is cleared."""
    if possible.witness is None or _too_few(possible, required):
        return Proof.UNPROVEN, False
    permitted = possible.mask & terms.permitted
    cleared = not terms.undrawn_prohibited and not (possible.mask & terms.prohibited).any()
    if not permitted.any() and not terms.undrawn_permitted:
        return Proof.OUTSIDE, cleared
    if (permitted == possible.mask).all():
        return Proof.INSIDE, cleared
    return Proof.UNPROVEN, cleared


def _too_few(possible: Possible, required: int) -> bool:
    sightings = possible.sightings
    return sightings.operators <= possible.max_faulty or len(sightings) < required


def _notes(possible: Possible, terms: Terms, required: int, proof: Proof) -> Iterator[str]:
    sightings, most = possible.sightings, possible.max_faulty
    if sightings.operators <= most:
        yield (
            f"too few landmarks: {sightings.operators} operators, and with up to {most} wrong "
            f"it takes {most + 1} to exclude a place"
        )
    if len(sightings) < required:
        yield f"too few landmarks: {len(sightings)} of the {required} that the policy asks for"
    if possible.contradiction:
        yield (
            f"the round trips contradict one another: no place is left, so more than {most} "
            "operators or their places are wrong"
        )
    elif possible.witness is None:
        yield "no place was found that is possible for sure, so nothing is proven"
    for code in terms.undrawn_permitted:
        yield f"{code} is permitted but not on the map, so nothing is proven outside"
    for code in terms.undrawn_prohibited:
        yield f"{code} is prohibited but not on the map, so nothing is cleared"
    if proof is Proof.UNPROVEN and not possible.contradiction:
        allowed, others = (
            _listed(possible, possible.mask & mask) for mask in (terms.permitted, ~terms.permitted)
        )
        yield f"possible and permitted: {allowed}; possible and not permitted: {others}"
    if (possible.mask & terms.prohibited).any():
        yield f"possible and prohibited: {_listed(possible, possible.mask & terms.prohibited)}"


def _listed(possible: Possible, mask: Bools) -> str:
    codes = [possible.atlas.codes[number] for number in np.flatnonzero(mask)]
    more = f" and {len(codes) - MOST_TOLD} more" if len(codes) > MOST_TOLD else ""
    return (", ".join(codes[:MOST_TOLD]) or "none") + more


def _worth_telling(
    possible: Possible, terms: Terms, proof: Proof, cleared: bool
) -> list[tuple[int, int]]:
    """Countries whose exclusion the verdict rests on: those that came nearest to being possible."""
    if proof is Proof.OUTSIDE:
        wanted = terms.permitted
    elif proof is Proof.INSIDE:
        wanted = ~terms.permitted
    elif cleared:
        wanted = terms.prohibited
    else:
        wanted = terms.permitted
    numbers = np.flatnonzero(wanted & ~possible.mask)
    if not len(numbers) or possible.contradiction:
        return []
    excess = np.sort(_excess(possible)[:, numbers], axis=0)
    # How far the country lies beyond the last landmark that it takes to exclude it.
    last = excess[-min(possible.max_faulty + 1, len(excess))]
    order = np.argsort(last, kind="stable")[:NEAREST_TOLD]
    return [(int(numbers[k]), int(last[k])) for k in order]


def _exclusions(possible: Possible, numbers: list[tuple[int, int]]) -> Iterator[Exclusion]:
    excess = _excess(possible)
    names = [landmark.id for landmark in possible.sightings.landmarks]
    for number, _ in numbers:
        column = excess[:, number]
        order = np.argsort(-column, kind="stable")
        by = tuple((names[k], int(column[k])) for k in order if column[k] > 0)
        alone = possible.sightings.at_most(possible.max_faulty, column[:, None] > 0)
        yield Exclusion(possible.atlas.codes[number], by, bool(alone[0]))


def _excess(possible: Possible) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """(landmarks, countries): kilometres beyond reach; negative within it."""
    sightings = possible.sightings
    rows = sightings.table.rows[sightings.chosen].astype(np.float64)
    return np.asarray(rows - possible.radii_km[:, None])
