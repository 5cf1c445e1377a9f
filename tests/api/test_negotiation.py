"""What a client says that it takes and holds: weights, wildcards, codings, entity tags."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import negotiation

COSE = "application/cose"
TAG = '"0123abcd"'


@pytest.mark.parametrize(
    "field",
    [
        "application/cose",
        "Application/COSE;q=0.1",
        "text/html, application/cose; q=1.000",
        'application/cose;cose-type="cose-sign1"',
        "application/cose;q=0, application/cose;q=0.5",
    ],
)
def test_a_media_type_that_is_named_is_wanted(field: str):
    assert negotiation.names([field], COSE)
    assert negotiation.names(["text/html", field], COSE)


@pytest.mark.parametrize(
    "field",
    [
        "",
        "*/*",
        "application/*",
        "application/cose;q=0",
        "application/cose; Q=0.000",
        "application/cose;q=2",
        "application/cose;q=",
        "application/cose;q=0.1234",
        "application/cose-key",
        "text/html, application/json",
    ],
)
def test_a_media_type_that_is_not_named_or_has_no_weight_is_not_wanted(field: str):
    assert not negotiation.names([field], COSE)


@pytest.mark.parametrize(
    "field",
    [
        "gzip",
        "GZip;q=0.001",
        "x-gzip",
        "br, gzip, deflate",
        "*",
        "gzip;q=0.5, identity;q=0.5",
        "gzip;q=0.2, *;q=0",
        "gzip;q=0.2, identity;q=0",
        "identity;q=0, *",
    ],
)
def test_gzip_is_taken(field: str):
    assert negotiation.takes_gzip([field])


@pytest.mark.parametrize(
    "field",
    [
        "",
        "identity",
        "br, deflate",
        "gzip;q=0",
        "gzip;q=0.000, *",
        "*;q=0",
        "gzip;q=0.5, identity",
        "gzip;q=0.5, identity;q=0.6",
        "gzip;q=0.3, *;q=0.5",
        "gzip;q=high",
        "gzipped",
    ],
)
def test_gzip_is_not_taken(field: str):
    assert not negotiation.takes_gzip([field])


def test_a_request_without_the_field_gets_the_bytes_as_they_are():
    assert not negotiation.takes_gzip([])
    assert negotiation.takes_gzip(["identity;q=0.5", "gzip"])


@pytest.mark.parametrize("field", [TAG, f"W/{TAG}", f'"x", {TAG}', "*", " * ", f'"a,b",{TAG},"c"'])
def test_a_tag_that_is_named_is_held(field: str):
    assert negotiation.holds([field], TAG)


@pytest.mark.parametrize("field", ["", "0123abcd", '"0123abc"', f"{TAG[:-1]}", '"x*"', 'w/"y"'])
def test_a_tag_that_is_not_named_is_not_held(field: str):
    assert not negotiation.holds([field], TAG)


@given(st.lists(st.text(max_size=60) | st.from_regex(r"[*a-z]+;q=[0-9.]{1,6}, ?"), max_size=3))
def test_fuzzed_fields_are_read_without_a_fault(fields: list[str]):
    assert all(0 <= weight <= 1 for weight in negotiation.weights(fields).values())
    negotiation.takes_gzip(fields)
    negotiation.holds(fields, TAG)
