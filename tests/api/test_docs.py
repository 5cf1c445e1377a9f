"""docs/http.md says what the service does: routes, settings, limits, statuses, metrics."""

import inspect
import re
from pathlib import Path

import pytest

from api import problems, settings, wire
from api.cli.options import SERVICE_URL
from api.cli.serve import serve
from api.settings import ServiceSettings
from ledger.protocol.heartbeat import MAX_HEARTBEAT_BYTES
from ledger.protocol.statements import MAX_STATEMENT_BYTES
from ledger.service import node
from ledger.values import MILLIS_PER_DAY
from tests.api.harness import Http, serving
from tests.api.test_openapi import served

TEXT = (Path(__file__).parents[2] / "docs" / "http.md").read_text()


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_routes_are_those_of_the_app(http: Http):
    listed = re.findall(r"^\| `(GET|POST) (\S+)` \|", section("Routes"), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == served(http.app)


def test_the_address_is_the_one_that_serve_takes_by_default():
    port = inspect.signature(serve).parameters["port"].default
    shown = re.findall(r"http://[\w.]+:\d+", TEXT)
    assert len(shown) == 3
    assert set(shown) == {SERVICE_URL} == {f"http://127.0.0.1:{port}"}


def test_the_settings_are_those_of_the_service_with_their_defaults():
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| (\S+) \|", section("Limits"), re.MULTILINE))
    wanted = {
        name.upper(): str(field.default) for name, field in ServiceSettings.model_fields.items()
    }
    assert listed == wanted
    assert ServiceSettings.model_config["env_prefix"] in section("Limits")


def test_the_limits_are_those_of_the_code():
    text = section("Limits")
    assert (MAX_HEARTBEAT_BYTES, MAX_STATEMENT_BYTES) == (2 * 1024, 32 * 1024)
    assert (settings.MAX_BATCH_BYTES, settings.MAX_CLOCK_BYTES) == (4 * 2**20, 1024)
    for shown in ("2 KiB", "32 KiB", "4 MiB", str(settings.MAX_BATCH_ITEMS), "1 KiB"):
        assert shown in text
    days, epochs = node.MAX_CLOCK_STEP_MS // MILLIS_PER_DAY, node.MAX_EPOCHS_AT_ONCE
    assert f"over {days} days or over {epochs:,} epochs" in TEXT
    assert f"{wire.MAX_HEAD_BYTES // 1024} KiB" in text
    assert f"`limit` is 1 to {settings.MAX_PAGE}" in TEXT


def test_the_statuses_are_those_of_the_table():
    listed = set(map(int, re.findall(r"^\| (\d{3}) \|", section("Problems"), re.MULTILINE)))
    assert listed == {int(status) for status in problems.STATUS.values()}


def test_the_metrics_are_those_of_the_service(http: Http):
    listed = set(re.findall(r"^\| `(\w+)` \|", section("Metrics"), re.MULTILINE))
    text = http.get("/metrics").text
    kinds = re.findall(r"^# TYPE chip_passport_(\w+) (\w+)$", text, re.MULTILINE)
    assert listed == {name for name, _ in kinds if not name.endswith("_created")}


def test_the_example_problem_is_the_one_the_code_makes():
    from api.schemas import Problem
    from ledger.errors import Reason

    (example,) = Problem.model_config["json_schema_extra"]["examples"]
    assert example == problems.document(
        Reason.EPOCH_UNKNOWN, example["detail"], "/v1/heartbeats", field="eat_nonce"
    )
    for value in example.values():
        assert str(value) in section("Problems")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, node):
    monkeypatch.setenv("CHIP_PASSPORT_HTTP_MAX_REQUESTS", "7")
    assert ServiceSettings().max_requests == 7
    assert ServiceSettings(max_requests=9).max_requests == 9
    with serving(node) as http:
        assert http.get("/healthz").status_code == 200
