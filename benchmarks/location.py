"""What real round trips prove of real places, and how often it is wrong.

Every server is in turn the device; the others are landmarks, each its own operator. A verdict is
wrong that says ``inside`` of a set of countries without the true one, ``outside`` of a set with it,
or ``cleared`` of a device in a prohibited destination.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from benchmarks import pings
from benchmarks.figures import Figure
from ledger.geo.sphere import EARTH_RADIUS_M
from ledger.location.assign import PLAN, Plan, assign, nearest
from ledger.location.atlas import Atlas
from ledger.location.possible import Possible, possible_countries, table_countries
from ledger.location.reach import FIBRE_KM_PER_MS
from ledger.location.sightings import Landmark, LandmarkTable, Sightings
from ledger.location.verdict import Proof, Terms, decide

EU_EFTA_UK = tuple(
    "AT BE BG CH CY CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI"
    " SK".split()
)
NEAR_THEM = tuple("AD AX FO GG GI IM JE MC SM VA".split())
"""Dependencies and enclaves with codes of their own, which a licence has to name to cover them."""

PROHIBITED = tuple("BY CN CU HK IR KP MO RU SY".split())
FAR_KM = 2_000
NEAREST = 12


@dataclass
class World:
    """The atlas and the round trips; ``wrong`` collects verdicts that are not so."""

    atlas: Atlas
    data: pings.Pings
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.broken = set(map(self.data.name, self.data.suspended))
        self._terms: dict[tuple[tuple[str, ...], tuple[str, ...]], Terms] = {}

    def usable(self, device: int) -> list[int]:
        """Healthy landmarks that have measured a device."""
        trips = self.data.round_trips
        return [mark for mark in self.data.healthy if (mark, device) in trips and mark != device]

    def sightings(self, device: int, marks: Sequence[int]) -> Sightings:
        """What landmarks measured to a device."""
        trips = [self.data.round_trips[mark, device] for mark in marks]
        return Sightings(self.data.table, marks, trips)

    def near(self, device: int, claim: int) -> list[int]:
        """The landmarks nearest to the place of another server, or of the device itself."""
        place = self.data.table.landmarks[claim]
        return nearest(
            self.data.table, self.usable(device), (place.latitude, place.longitude), NEAREST
        )

    def proof(
        self, device: int, found: Possible, permitted: tuple[str, ...], what: str
    ) -> tuple[Proof, bool]:
        """The verdict; if it is wrong, it is noted with the device's name."""
        key = (permitted, PROHIBITED)
        if key not in self._terms:
            self._terms[key] = Terms.of(self.atlas, *key)
        proof, cleared = decide(found, self._terms[key])
        true = self.data.countries[device]
        if (
            (proof is Proof.INSIDE and true not in permitted)
            or (proof is Proof.OUTSIDE and true in permitted)
            or (cleared and true in PROHIBITED)
        ):
            said = f"{proof.value}, {'cleared' if cleared else 'not cleared'}"
            own = (
                " [own coordinates break physics]" if self.data.name(device) in self.broken else ""
            )
            self.wrong.append(f"{self.data.name(device)} ({true}): {said}, {what}{own}")
        return proof, cleared


def run(*, quick: bool) -> Iterator[Figure]:
    """All figures, or one line that says why there are none."""
    why = pings.missing()
    if why is not None:
        yield Figure(f"location: skipped, {why}", 0.0)
        return
    atlas = Atlas.load()
    world = World(atlas, pings.read(atlas))
    data = world.data
    yield Figure(
        "servers",
        len(data.countries),
        details={
            "round trips": len(data.round_trips),
            "suspended as landmarks": sorted(world.broken),
        },
    )
    yield from nearest_rates(world)
    yield from _random_rates(world, 1 if quick else 5)
    yield from _outside_rates(world, 1 if quick else 6)
    yield from _metropolitan_rates(world, 1 if quick else 4)
    told = [line for line in world.wrong if "[own" in line]
    others = [line for line in world.wrong if "[own" not in line]
    yield Figure("wrong proofs", len(others), 0, at_least=False, details={"names": others})
    yield Figure(
        "wrong proofs of cities with refuted coordinates",
        len(told),
        details={"at": sorted(set(told))},
    )
    yield from _relays(world, 1 if quick else 6)
    yield from _other_bounds(world)
    yield from _liars(world, 1_000 if quick else 10_000)
    yield from delays(world, 2_000 if quick else 100_000)
    yield from _times(world)


def nearest_rates(world: World) -> Iterator[Figure]:
    """Landmarks nearest to a true claim."""
    data, every = world.data, range(len(world.data.countries))
    found = {
        device: possible_countries(world.atlas, world.sightings(device, world.near(device, device)))
        for device in every
    }
    own = [
        device
        for device in every
        if world.proof(device, found[device], (data.countries[device],), "own country")[0]
        is Proof.INSIDE
    ]
    names = sorted({data.countries[device] for device in own})
    yield _share("inside its own country", len(own), len(every), details={"countries": names})
    members = [device for device in every if data.countries[device] in EU_EFTA_UK]
    for codes, name in (
        (EU_EFTA_UK + NEAR_THEM, "inside EU, EFTA, UK and what lies among them"),
        (EU_EFTA_UK, "inside EU, EFTA, UK to the letter"),
    ):
        hits = sum(
            world.proof(device, found[device], codes, name)[0] is Proof.INSIDE for device in members
        )
        limit = 0.43 if codes != EU_EFTA_UK else None
        yield _share(name, hits, len(members), limit)
        for device in every:  # the others must not be inside it
            world.proof(device, found[device], codes, name)
    allowed = [device for device in every if data.countries[device] not in PROHIBITED]
    hits = sum(world.proof(device, found[device], (), "nothing")[1] for device in allowed)
    yield _share("cleared", hits, len(allowed), 0.51, details={"prohibited": " ".join(PROHIBITED)})
    held = [device for device in every if data.countries[device] in PROHIBITED]
    bad = sum(world.proof(device, found[device], (), "nothing")[1] for device in held)
    yield Figure(
        "in a prohibited destination and cleared",
        bad,
        0,
        at_least=False,
        details={"devices": len(held)},
    )


def _random_rates(world: World, times: int) -> Iterator[Figure]:
    """Landmarks chosen at random, to compare with."""
    rng, hits, count = random.Random(1), 0, 0
    for device, country in enumerate(world.data.countries):
        for _ in range(times):
            marks = rng.sample(world.usable(device), NEAREST)
            found = possible_countries(world.atlas, world.sightings(device, marks))
            cleared = world.proof(device, found, (country,), "random landmarks")[1]
            if country not in PROHIBITED:
                hits, count = hits + cleared, count + 1
    yield _share("cleared, landmarks at random", hits, count)


def _diverted(world: World, times: int, rng: random.Random) -> Iterator[tuple[int, int]]:
    """Devices, and servers that they claim to be: of any country with servers, far away."""
    by_country: dict[str, list[int]] = {}
    for mark in world.data.healthy:
        by_country.setdefault(world.data.countries[mark], []).append(mark)
    for device in range(len(world.data.countries)):
        row = world.data.table.rows[device]
        for _ in range(times):
            country = rng.choice(sorted(by_country))
            if row[world.atlas.number[country]] > FAR_KM and (
                country != world.data.countries[device]
            ):
                yield device, rng.choice(by_country[country])


def _outside_rates(world: World, times: int) -> Iterator[Figure]:
    """Diverted devices that answer honestly, and claim to be in one far licensed country."""
    literal = Plan(spread=4, closer=4, rounds=3, most=24)
    longer = Plan(spread=4, closer=4, rounds=3, most=28)
    pairs = list(_diverted(world, times, random.Random(2)))
    first = 0
    hits = dict.fromkeys((PLAN, literal, longer), 0)
    for device, claim in pairs:
        licence = (world.data.countries[claim],)
        for plan in hits:
            measured: dict[int, float] = {}
            for turn in range(2 + plan.rounds):
                _measure(world, device, claim, turn, measured, plan)
                if turn == 0 and plan is PLAN:
                    first += _outside(world, device, measured, licence)
            hits[plan] += _outside(world, device, measured, licence)
    yield _share("outside a far country, first phase alone", first, len(pairs))
    yield _share(
        "outside a far country, two phases",
        hits[PLAN],
        len(pairs),
        0.68,
        details={"landmarks": 24, "plan": "12 + 6 + 3 x 2"},
    )
    yield _share("the same, 12 + 4 + 2 x 4", hits[literal], len(pairs))
    yield _share("the same, 12 + 4 + 3 x 4", hits[longer], len(pairs), details={"landmarks": 28})


def _measure(
    world: World, device: int, claim: int, turn: int, measured: dict[int, float], plan: Plan
) -> None:
    place = world.data.table.landmarks[claim]
    at = (place.latitude, place.longitude)
    for mark in assign(world.data.table, world.usable(device), at, turn, measured, plan):
        measured[mark] = world.data.round_trips[mark, device]


def _outside(
    world: World, device: int, measured: dict[int, float], licence: tuple[str, ...]
) -> bool:
    found = possible_countries(world.atlas, world.sightings(device, list(measured)))
    return world.proof(device, found, licence, f"licence {licence[0]}")[0] is Proof.OUTSIDE


def _metropolitan_rates(world: World, times: int) -> Iterator[Figure]:
    """Beside the nearest 10, simulated landmarks 1-30 km away, as the delay model has them."""
    for base, count in ((0.5, 2), (1.0, 2), (0.5, 1)):
        rng, own, cleared, allowed, total = random.Random(3), 0, 0, 0, 0
        for device, country in enumerate(world.data.countries):
            if world.data.name(device) in world.broken:
                continue
            for _ in range(times):
                found = _with_metropolitan(world, device, base, count, rng)
                proof, clear = world.proof(device, found, (country,), f"metropolitan, {base} ms")
                own, total = own + (proof is Proof.INSIDE), total + 1
                if country not in PROHIBITED:
                    cleared, allowed = cleared + clear, allowed + 1
        name = f"{count} simulated landmark{'s' if count > 1 else ''} 1-30 km away, base {base} ms"
        yield _share(f"{name}: inside its own country", own, total)
        yield _share(f"{name}: cleared", cleared, allowed)


def _with_metropolitan(
    world: World, device: int, base: float, count: int, rng: random.Random
) -> Possible:
    table = world.data.table
    marks = world.near(device, device)[: NEAREST - count]
    true = table.landmarks[device]
    own, trips = [], []
    for number in range(count):
        away, bearing = rng.uniform(1.0, 30.0), rng.uniform(0.0, 2.0 * np.pi)
        north = np.degrees(away / EARTH_RADIUS_M * 1000.0)
        latitude = true.latitude + north * np.cos(bearing)
        longitude = true.longitude + north * np.sin(bearing) / np.cos(np.radians(true.latitude))
        own.append(Landmark(f"metropolitan-{number}", latitude, longitude, f"metro-{number}"))
        detour = 1.0 + np.exp(rng.gauss(1.472, 1.009))
        trips.append(base + 2.0 * away / FIBRE_KM_PER_MS * detour)
    rows = {
        (mark.latitude, mark.longitude): (table.rows[index], table.nearest[index])
        for index, mark in enumerate(table.landmarks)
        if index in marks
    }
    both = LandmarkTable(
        world.atlas,
        [*(table.landmarks[mark] for mark in marks), *own],
        lambda *at: rows[at] if at in rows else world.atlas.row(*at),
    )
    real = [world.data.round_trips[mark, device] for mark in marks]
    return possible_countries(world.atlas, Sightings(both, range(len(real) + count), real + trips))


def _relays(world: World, times: int) -> Iterator[Figure]:
    """A relay at the place claimed; the key, and so the answer, is in the diverted device."""
    data, inside = world.data, 0
    pairs = [
        (device, claim)
        for device, claim in _diverted(world, times, random.Random(6))
        if (claim, device) in data.round_trips and data.name(device) not in world.broken
    ]
    for device, claim in pairs:
        marks = [mark for mark in world.near(claim, claim) if (mark, claim) in data.round_trips]
        way = data.round_trips[claim, device]
        trips = [data.round_trips[mark, claim] + way for mark in marks]
        found = possible_countries(world.atlas, Sightings(data.table, marks, trips))
        proof, _ = decide(found, Terms.of(world.atlas, (data.countries[claim],), ()))
        inside += proof is Proof.INSIDE
    yield Figure("inside through a relay", inside, 0, at_least=False, details={"of": len(pairs)})


def _other_bounds(world: World) -> Iterator[Figure]:
    """The nearest 12 with other bounds: what they would prove, and whom they would wrong."""
    for most, speed in (
        (0, FIBRE_KM_PER_MS),
        (2, FIBRE_KM_PER_MS),
        (1, 204.2),
        (1, 299.79),
        (1, 100.0),
    ):
        own = cleared = allowed = 0
        denied = []
        for device, country in enumerate(world.data.countries):
            sightings = world.sightings(device, world.near(device, device))
            found = possible_countries(world.atlas, sightings, most, speed)
            proof, clear = decide(found, Terms.of(world.atlas, (country,), PROHIBITED))
            own += proof is Proof.INSIDE
            if country not in PROHIBITED:
                cleared, allowed = cleared + clear, allowed + 1
            if country not in found.countries:
                denied.append(world.data.name(device))
        yield _share(
            f"at f = {most} and {speed:.4g} km/ms: cleared",
            cleared,
            allowed,
            details={
                "inside its own country": round(own / len(world.data.countries), 3),
                "denied their country": len(denied),
                "such as": denied[:6],
            },
        )


def _liars(world: World, cases: int) -> Iterator[Figure]:
    """One landmark lies about its round trip. With an honest fault beside it, that is two."""
    lies: dict[str, Callable[[random.Random, float], float]] = {
        "at random": lambda rng, trip: trip * rng.random(),
        "as short as can be": lambda rng, trip: 0.01,
    }
    for name, lie in lies.items():
        for diverted in (False, True):
            wrong, new, names = _lied(world, cases, lie, diverted=diverted)
            where = "nearest to the place claimed" if diverted else "one of the 12 nearest"
            yield Figure(
                f"wrong proofs with one liar, {where}, {name}",
                wrong,
                details={"cases": cases, "proofs gained": new, "devices": names},
            )


def _lied(
    world: World,
    cases: int,
    lie: Callable[[random.Random, float], float],
    *,
    diverted: bool,
) -> tuple[int, int, list[str]]:
    rng, gained, start, wrong = random.Random(4), 0, len(world.wrong), 0
    devices = [
        device
        for device in range(len(world.data.countries))
        if world.data.name(device) not in world.broken
    ]
    for _ in range(cases):
        device = rng.choice(devices)
        claim = rng.choice(devices) if diverted else device
        marks = world.near(device, claim)
        trips = [world.data.round_trips[mark, device] for mark in marks]
        before = possible_countries(world.atlas, Sightings(world.data.table, marks, trips))
        liar = 0 if diverted else rng.randrange(len(marks))
        trips[liar] = lie(rng, trips[liar])
        after = possible_countries(world.atlas, Sightings(world.data.table, marks, trips))
        for permitted in ((world.data.countries[claim],), EU_EFTA_UK + NEAR_THEM):
            count = len(world.wrong)
            new = world.proof(device, after, permitted, "one liar")
            wrong += len(world.wrong) > count
            gained += _gained(world.proof(device, before, permitted, "no liar"), new)
    names = sorted({line.partition(":")[0] for line in world.wrong[start:]})
    return wrong, gained, names


def delays(world: World, trials: int) -> Iterator[Figure]:
    """Delay added to some landmarks: no proof may come of it."""
    rng, bad, after_none = random.Random(5), 0, 0
    for _ in range(trials):
        device = rng.randrange(len(world.data.countries))
        usable = world.usable(device)
        claim = rng.choice(world.data.healthy)
        marks = world.near(device, claim) if rng.random() < 0.5 else rng.sample(usable, NEAREST)
        trips = [world.data.round_trips[mark, device] for mark in marks]
        scale = 10.0 ** rng.uniform(-2.0, 2.5)
        later = [trip + rng.choice((0.0, rng.expovariate(1.0 / scale))) for trip in trips]
        before = possible_countries(world.atlas, Sightings(world.data.table, marks, trips))
        after = possible_countries(world.atlas, Sightings(world.data.table, marks, later))
        permitted = rng.choice(
            ((world.data.countries[claim],), (world.data.countries[device],), EU_EFTA_UK)
        )
        new = _gained(
            world.proof(device, before, permitted, "before delay"),
            world.proof(device, after, permitted, "after delay"),
        )
        lost = bool((before.mask & ~after.mask).any())
        if before.witness is None:
            after_none += new
        else:
            bad += new or lost
    yield Figure(
        "proofs gained by adding delay",
        bad,
        0,
        at_least=False,
        details={"trials": trials, "where the round trips contradicted one another": after_none},
    )


def _gained(before: tuple[Proof, bool], after: tuple[Proof, bool]) -> bool:
    return (after[0] is not Proof.UNPROVEN and after[0] is not before[0]) or (
        after[1] and not before[1]
    )


def _times(world: World) -> Iterator[Figure]:
    """Time of a verdict with 12 landmarks; reported, not held to a limit."""
    every = [
        world.sightings(device, world.near(device, device))
        for device in range(len(world.data.countries))
    ]
    terms = Terms.of(world.atlas, EU_EFTA_UK, PROHIBITED)
    for name, find in (("table", table_countries), ("finer test", possible_countries)):
        rounds = []
        for _ in range(7):
            start = time.perf_counter()
            for sightings in every:
                decide(find(world.atlas, sightings), terms)
            rounds.append((time.perf_counter() - start) / len(every) * 1e6)
        yield Figure(
            f"a verdict with {NEAREST} landmarks, {name}",
            median(rounds),
            unit="µs",
            details={"best round": round(min(rounds))},
        )
    row = world.data.table.rows[0]
    yield Figure("a landmark's row", row.nbytes, 1_000, at_least=False, unit="bytes")


def _share(
    name: str,
    hits: int,
    count: int,
    limit: float | None = None,
    details: dict[str, object] | None = None,
) -> Figure:
    share = hits / count if count else 0.0
    return Figure(name, share, limit, details={"of": count, **(details or {})})
