"""Whatever bytes come, the answer is a result or a problem document, and nothing breaks."""

from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as some

from api import problems
from tests.api.conftest import open_node
from tests.api.harness import CBOR_SEQ, COSE, PROBLEM, Http, serving
from tests.api.world import Chip, World

PATHS = ("/v1/heartbeats", "/v1/statements")
_CODES = {reason.value for reason in problems.STATUS}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Http, list[bytes]]]:
    """An app over a ledger in use, and tokens to start from."""
    node, world = open_node(Path(tmp_path_factory.mktemp("fuzz"))), World()
    status = node.status()
    tokens = [world.genesis(status.ledger_key, status.verifier_key), *world.parties()]
    chips = [Chip(number) for number in range(1, 4)]
    node.submit([*tokens, *map(world.birth, chips)])
    epoch = node.epoch().id
    tokens += [world.birth(Chip(9)), *(chip.heartbeat(epoch) for chip in chips)]
    with serving(node) as http:
        yield http, tokens
    node.close()


def check(http: Http, path: str, body: bytes, media: str) -> None:
    answer = http.post(path, body, media)
    found = answer.json()
    if answer.status_code < 300:
        return
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == PROBLEM
    assert found["reason"] in _CODES
    assert found["remedy"]
    assert found["detail"]
    assert found["status"] == answer.status_code


@given(body=some.binary(max_size=600))
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("media", [COSE, CBOR_SEQ])
def test_random_bytes_get_a_problem(ledger, path: str, media: str, body: bytes):
    check(ledger[0], path, body, media)


_ITEMS = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.binary() | some.text(),
    lambda inner: (
        some.lists(inner, max_size=5)
        | some.dictionaries(some.integers() | some.text(), inner, max_size=5)
        | some.builds(cbor2.CBORTag, some.sampled_from([0, 4, 17, 18, 61]), inner)
    ),
    max_leaves=12,
)


@given(items=some.lists(_ITEMS, max_size=4))
@pytest.mark.parametrize("path", PATHS)
def test_random_cbor_gets_a_problem(ledger, path: str, items: list[object]):
    body = b"".join(cbor2.dumps(item) for item in items)
    check(ledger[0], path, body, CBOR_SEQ)
    check(ledger[0], path, body, COSE)


@given(data=some.data())
@pytest.mark.parametrize("path", PATHS)
def test_tokens_with_a_few_bytes_changed_get_a_problem(ledger, path: str, data):
    http, tokens = ledger
    token = bytearray(data.draw(some.sampled_from(tokens)))
    for _ in range(data.draw(some.integers(1, 4))):
        token[data.draw(some.integers(0, len(token) - 1))] = data.draw(some.integers(0, 255))
    cut = data.draw(some.sampled_from([len(token), len(token) - 1, len(token) // 2]))
    check(http, path, bytes(token[:cut]), data.draw(some.sampled_from([COSE, CBOR_SEQ])))


@given(media=some.text(max_size=60).filter(lambda text: "\n" not in text and "\r" not in text))
def test_random_content_types_get_a_problem(ledger, media: str):
    http, tokens = ledger
    headers = {"Content-Type": media.encode("utf-8")}
    answer = http.request("POST", "/v1/heartbeats", content=tokens[-1], headers=headers)
    assert answer.status_code in (201, 409, 415), answer.text


@given(path=some.text(max_size=40), prefix=some.sampled_from(["/", "/log/tile/", "/v1/devices/"]))
def test_random_addresses_get_a_problem(ledger, prefix: str, path: str):
    from urllib.parse import quote

    answer = ledger[0].get(prefix + quote(path, safe="/"))
    assert answer.status_code in (200, 400, 404, 405, 422), answer.text
    if answer.status_code != 200:
        assert answer.headers["content-type"] == PROBLEM
