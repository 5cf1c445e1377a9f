"""How a history becomes lines."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest

from api.cli.life import lines
from ledger.passport.words import describe
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from tests.world import FRANKFURT, SINGAPORE, Chip, World, seed, signer

HOUR_MS = 3_600_000
NEAR_FRANKFURT = (FRANKFURT[0] + 0.0005, FRANKFURT[1] - 0.0005)


class Story:
    """Items of a history in the ledger's own words."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self._chip = Chip(0, b"\x01" + bytes(16), signer("chip"))
        self._index = count(10)
        self._now_ms = 0

    def beats(
        self,
        number: int = 1,
        place: tuple[float, float] = FRANKFURT,
        conflict: str | None = None,
        hours: float = 4,
        **changes: Any,
    ) -> "Story":
        for _ in range(number):
            body = st.decode(self._chip.heartbeat(seed("e")[:16], 0, place=place, **changes)).body
            words = describe(Kind.HEARTBEAT, body, conflict=conflict, detail="counter 3 after 3")
            self._add("conflict" if conflict else "heartbeat", words, conflict, hours)
        return self

    def event(self, kind: str, words: str) -> "Story":
        self._add(kind, words, None, 0)
        return self

    def _add(self, kind: str, words: str, reason: str | None, hours: float) -> None:
        self._now_ms += int(hours * HOUR_MS)
        item = {"index": next(self._index), "kind": kind, "meaning": words, "reason": reason}
        self.items.append(item | {"received_ms": self._now_ms})

    @property
    def lines(self) -> list[tuple[int, str, int]]:
        """(first entry, kind, count) of each line."""
        return [(line.item["index"], line.item["kind"], line.count) for line in lines(self.items)]

    @property
    def words(self) -> Sequence[str]:
        return [line.words for line in lines(self.items)]


def test_empty_history_has_no_lines() -> None:
    assert list(lines([])) == []


def test_heartbeats_from_one_place_are_one_line_although_they_scatter() -> None:
    story = Story().beats(3).beats(4, NEAR_FRANKFURT)
    assert story.lines == [(10, "heartbeat", 7)]
    assert story.words[0].startswith("7 heartbeats, to 1970-01-02 04:00, claiming 50.1109° N")
    assert story.words[0].endswith("firmware 1.0, boot 1")


def test_single_heartbeat_keeps_its_own_words() -> None:
    assert Story().beats().words == [
        "heartbeat 1: claims 50.1109° N, 8.6821° E ± 12 m, firmware 1.0, boot 1"
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"place": SINGAPORE},
        {"hours": 25},
        {"measurement": None},
    ],
)
def test_new_place_firmware_or_a_day_of_silence_begins_a_line(changes: dict[str, Any]) -> None:
    if "measurement" in changes:
        from ledger.protocol.heartbeat import Measurement

        changes = {"measurement": Measurement("1.1", 4, seed("other"))}
    assert Story().beats(3).beats(1, **changes).lines == [
        (10, "heartbeat", 3),
        (13, "heartbeat", 1),
    ]


def test_reboots_stay_in_the_line_and_are_named() -> None:
    story = Story().beats(2).beats(2, boot_count=2, boot_seed=seed("second boot"))
    assert len(story.lines) == 1
    assert story.words[0].endswith("boots 1 to 2")


def test_events_stand_between_lines_in_order() -> None:
    story = Story().event("birth", "born").beats(2).event("decision", "HOLD").beats(2)
    assert [kind for _, kind, _ in story.lines] == ["birth", "heartbeat", "decision", "heartbeat"]


def test_copied_key_that_speaks_in_turn_is_two_lines() -> None:
    story = Story()
    for _ in range(5):
        story.beats(1).beats(1, SINGAPORE, conflict="counter-rollback")
    story.event("decision", "HOLD").beats(2)
    assert story.lines == [
        (10, "heartbeat", 5),
        (11, "conflict", 5),
        (20, "decision", 1),
        (21, "heartbeat", 2),
    ]
    assert "on record as evidence, without effect (counter-rollback)" in story.words[1]
    assert "1.3521° N" in story.words[1]


def test_distance_from_the_site_is_told() -> None:
    world = World()
    install = st.decode(world.install(world.chip(0))).body
    words = describe(Kind.INSTALL, install.model_copy(update={"site": "Ashburn, Virginia"}))
    story = Story().event("install", words).beats(2).beats(2, SINGAPORE)
    assert "(its site Ashburn, Virginia, DE)" in story.words[1]
    assert "(10,258 km from its site Ashburn, Virginia, DE)" in story.words[2]


@pytest.mark.parametrize("place", [(-33.86, 151.2), (40.7, -74.0), (0.0, 0.0), (-0.5, -179.9)])
def test_every_hemisphere_is_read_back(place: tuple[float, float]) -> None:
    line = next(lines(Story().beats(2, place).items))
    assert line.claim is not None
    assert (line.claim.place.latitude, line.claim.place.longitude) == place


def test_no_entry_is_lost_or_told_twice() -> None:
    story = Story()
    for step in range(40):
        conflict = "heartbeat-fork" if step % 3 == 1 else None
        story.beats(1, SINGAPORE if step % 7 > 4 else FRANKFURT, conflict)
        if step % 11 == 10:
            story.event("ship", "shipped")
    assert sum(line.count for line in lines(story.items)) == len(story.items)


def test_words_that_say_nothing_known_are_shown_as_they_are() -> None:
    story = Story().event("heartbeat", "statement withheld").event("heartbeat", "something new")
    assert story.words == ["statement withheld", "something new"]
