"""A schema-driven run against the OpenAPI document: every route, no fault of ours."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from ledger.service.node import Node
from tests.api.conftest import open_node
from tests.api.world import Chip, World

pytestmark = pytest.mark.slow

EXAMPLES = 60
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


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
    app = create_app(used_ledger)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    schema.config.generation.update(modes=[mode])
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 15
    if mode is schemathesis.GenerationMode.NEGATIVE:
        operations = [found for found in operations if _can_be_wrong(found)]
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

        run()


def _can_be_wrong(operation: schemathesis.APIOperation) -> bool:
    """Whether there is any input; without, a request cannot contradict the schema."""
    return any((operation.query, operation.path_parameters, operation.body))
