"""A schema-driven run against the OpenAPI document: every route, no fault of ours."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some
from schemathesis.checks import not_a_server_error
from schemathesis.core.control import SkipTest
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.settings import ServiceSettings
from ledger.service.node import Node
from tests.api.conftest import open_node
from tests.api.harness import CBOR_SEQ, COSE
from tests.api.world import Chip, World

pytestmark = pytest.mark.slow

EXAMPLES = 60
_TOKENS = [World().parties()[0], World().birth(Chip(9)), Chip(1).heartbeat(bytes(16)), b"\x01"]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@schemathesis.serializer(COSE, CBOR_SEQ)
def as_is(_context: object, value: object) -> bytes:
    """Bodies are bytes already; what a generator makes else goes as its text."""
    return value if isinstance(value, bytes) else str(value).encode()


schemathesis.openapi.media_type(COSE, some.binary(max_size=200) | some.sampled_from(_TOKENS))
schemathesis.openapi.media_type(
    CBOR_SEQ, some.lists(some.sampled_from(_TOKENS), max_size=4).map(b"".join)
)


@pytest.fixture(scope="module")
def used_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A ledger with chips, heartbeats and a checkpoint; long epochs, as clocks will jump."""
    node, world = open_node(Path(tmp_path_factory.mktemp("schema"))), World()
    status = node.status()
    chips = [Chip(number) for number in range(1, 4)]
    genesis = world.genesis(status.ledger_key, status.verifier_key, epoch_s=86_400)
    node.submit([genesis, *world.parties(), *map(world.birth, chips)])
    epoch = node.epoch().id
    node.submit([chip.heartbeat(epoch) for chip in chips for _ in range(3)])
    node.set_time(world.now_ms + 1_000)
    yield node
    node.close()


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_no_operation_breaks_or_answers_what_it_does_not_document(
    used_ledger: Node, mode: schemathesis.GenerationMode
):
    app = create_app(used_ledger, settings=ServiceSettings(access="open"))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    schema.config.generation.update(modes=[mode])
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 15
    tried = 0
    for operation in operations:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def run(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        # An operation without input, or that takes any text, cannot be asked wrongly.
        with suppress(SkipTest):
            run()
            tried += 1
    assert tried >= (len(operations) if mode.is_positive else 4)
