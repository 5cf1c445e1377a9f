"""Results on the hot path are written as text: the same JSON as by the plain way."""

import json

from hypothesis import given
from hypothesis import strategies as some

from api import outcomes, schemas
from ledger.errors import Reason, Refused
from ledger.protocol.statements import Action, Kind
from ledger.service.views import Directive, Lease, Receipt

_UINTS = some.integers(0, 2**53 - 1)
_DIGESTS = some.binary(min_size=32, max_size=32)
_RECEIPTS = some.builds(
    Receipt,
    _UINTS,
    _DIGESTS,
    _UINTS,
    some.sampled_from(Kind),
    some.none() | some.sampled_from(Reason),
    some.sampled_from(["", 'with "quotes"\n\\ and \u2028 é']),
    some.none() | some.builds(Lease, some.binary(min_size=16, max_size=16), _UINTS),
    some.none() | some.builds(Directive, _UINTS, some.sampled_from(Action), _DIGESTS),
)
_REFUSALS = some.builds(
    Refused, some.sampled_from(Reason), some.text(), field=some.none() | some.text()
)


@given(found=some.lists(_RECEIPTS | _REFUSALS, min_size=1, max_size=6))
def test_a_batch_is_the_json_of_its_results(found):
    status, media, body = outcomes.batch(found, "/v1/heartbeats")
    parsed = json.loads(body)
    assert parsed["results"] == [outcomes.result(outcome) for outcome in found]
    for result in parsed["results"]:
        schemas.Result.model_validate(result)
    states = [result["status"] for result in parsed["results"]]
    for name in ("accepted", "recorded", "refused"):
        assert parsed[name] == states.count(name)
    if set(states) == {"accepted"}:
        assert (status, media) == (200, "application/json")
    elif "accepted" in states:
        assert (status, media) == (207, "application/json")
    else:
        assert status == parsed["status"] >= 400
        assert media == "application/problem+json"
        assert parsed["reason"] == parsed["results"][0]["reason"]
