"""From what is left to a verdict: each proof has its accept side and its reject side."""

import numpy as np
import pytest

from ledger.location.possible import table_countries
from ledger.location.verdict import LocationVerdict, Proof, Terms, judge
from tests.location.ground import ATLAS, Seen, left, sightings

GERMANY: list[Seen] = [(51.2, 10.0, 0.5), (51.2, 10.1, 0.5)]
BORDER: list[Seen] = [(47.60, 7.60, 0.5), (47.60, 7.61, 0.5)]  # Basel


def judged(
    seen: list[Seen],
    permitted: str,
    prohibited: str = "",
    max_faulty: int = 1,
    required: int = 0,
) -> LocationVerdict:
    terms = Terms.of(ATLAS, permitted.split(), prohibited.split())
    return judge(left(seen, max_faulty), terms, required)


def test_inside_when_all_that_is_left_is_permitted() -> None:
    found = judged(GERMANY, "DE FR", "RU")
    assert (found.proof, found.cleared, found.possible) == (Proof.INSIDE, True, ("DE",))


def test_outside_when_nothing_that_is_left_is_permitted() -> None:
    found = judged(GERMANY, "SG US")
    assert found.proof is Proof.OUTSIDE
    assert any("Singapore (SG) is beyond the reach of 0 by" in text for text in found.reasons)


def test_unproven_when_some_of_it_is_permitted() -> None:
    found = judged(BORDER, "CH")
    assert found.proof is Proof.UNPROVEN
    assert found.reasons[0] == ("possible and permitted: CH; possible and not permitted: DE, FR")


def test_cleared_only_when_no_prohibited_destination_is_left() -> None:
    assert judged(BORDER, "CH", "RU").cleared
    found = judged(BORDER, "CH", "RU FR")
    assert not found.cleared
    assert "possible and prohibited: FR" in found.reasons


def test_disputed_place_is_neither_inside_one_of_its_countries_nor_outside() -> None:
    simferopol: list[Seen] = [(44.95, 34.1, 0.3), (44.95, 34.1, 0.3)]
    for permitted in ("UA", "RU"):
        assert judged(simferopol, permitted).proof is Proof.UNPROVEN
    assert judged(simferopol, "RU UA").proof is Proof.INSIDE
    assert not judged(simferopol, "UA", "RU").cleared


def test_licence_for_a_country_does_not_cover_its_territories() -> None:
    reunion: list[Seen] = [(-21.1, 55.5, 0.5), (-21.1, 55.5, 0.5)]
    assert judged(reunion, "FR").proof is Proof.OUTSIDE
    assert judged(reunion, "FR RE").proof is Proof.INSIDE


def test_contradiction_proves_nothing() -> None:
    seen: list[Seen] = [*GERMANY, (35.7, 139.7, 1.0), (35.7, 139.7, 1.0)]
    found = judged(seen, "DE", "")
    assert (found.proof, found.cleared, found.contradiction) == (Proof.UNPROVEN, False, True)
    assert "contradict" in found.reasons[0]


def test_discs_that_only_touch_within_the_margins_prove_nothing() -> None:
    """Two discs 1 km short of meeting: within the errors, but no place is possible for sure."""
    away = 5.0 * 111.32 * np.cos(np.radians(48.0))  # from 10°E to 15°E, nearly
    trip = (away / 2.0 - 0.5) / 99.93
    seen: list[Seen] = [(48.0, 10.0, trip), (48.0, 15.0, trip)]
    found = judged(seen, "AT DE", max_faulty=0)
    assert found.possible
    assert (found.proof, found.contradiction) == (Proof.UNPROVEN, False)
    assert "no place was found that is possible for sure" in found.reasons[0]


@pytest.mark.parametrize("permitted", ["", "DE", " ".join(ATLAS.codes)])
def test_too_few_landmarks_prove_nothing_and_say_so(permitted: str) -> None:
    for seen in ([], GERMANY[:1], [(*row[:3], "x") for row in GERMANY]):
        found = judged(seen, permitted, "")  # type: ignore[arg-type]
        assert (found.proof, found.cleared) == (Proof.UNPROVEN, False)
        assert found.reasons[0].startswith("too few landmarks")


def test_fewer_landmarks_than_the_policy_asks_for_prove_nothing() -> None:
    assert judged(GERMANY, "DE", required=2).proof is Proof.INSIDE
    found = judged(GERMANY, "DE", required=3)
    assert found.proof is Proof.UNPROVEN
    assert found.reasons[0] == "too few landmarks: 2 of the 3 that the policy asks for"


def test_country_that_is_not_on_the_map_blocks_what_rests_on_its_exclusion() -> None:
    found = judged(GERMANY, "SG QQ")
    assert found.proof is Proof.UNPROVEN
    assert "QQ is permitted but not on the map" in found.reasons[0]
    assert not judged(GERMANY, "DE", "QQ").cleared
    assert judged(GERMANY, "DE", "QQ").proof is Proof.INSIDE


def test_reasons_name_the_landmarks_and_by_how_much() -> None:
    found = judged(GERMANY, "PL")
    (one,) = found.exclusions
    assert (one.country, one.joint) == ("PL", False)
    row, _ = ATLAS.row(51.2, 10.0)
    reach = 0.5 * 99.930819
    assert ("0", int(row[ATLAS.number["PL"]] - reach)) in one.by
    assert str(one).startswith("Poland (PL) is beyond the reach of ")


def test_country_that_no_two_landmarks_exclude_whole_is_excluded_jointly() -> None:
    seen: list[Seen] = [(42.2, 1.9, 9.1), (54.8, 12.8, 7.1)]
    gone = table_countries(ATLAS, sightings(seen), 0).countries - left(seen, 0).countries
    assert gone == {"AT"}
    found = judged(seen, " ".join(gone), max_faulty=0)
    assert found.exclusions
    assert all(one.joint for one in found.exclusions)
    assert "every place is beyond the reach" in str(found.exclusions[0])
