"""The status table, and that every fault becomes a problem document."""

import pytest

from api import problems
from ledger.errors import REASONS, IntegrityError, Reason, Refused, StorageError
from tests.api.harness import Altered, Http, assert_problem, serving

_MEMBERS = {"type", "title", "status", "detail", "reason", "field", "remedy", "instance"}


def test_every_reason_has_a_client_error_or_unavailable_status():
    assert set(problems.STATUS) == set(Reason)
    assert {int(status) for status in problems.STATUS.values()} <= {
        400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 429, 503,
    }  # fmt: skip


@pytest.mark.parametrize("reason", list(Reason))
def test_a_problem_document_has_the_members_of_the_contract(reason: Reason):
    document = problems.document(reason, "what was found", "/v1/x")
    assert set(document) == _MEMBERS
    assert document["type"] == f"/problems/{reason.value}"
    assert document["status"] == problems.STATUS[reason]
    assert document["title"] == REASONS[reason].title
    assert document["remedy"] == REASONS[reason].remedy


def test_every_problem_type_leads_to_its_description(http: Http):
    for code in [*(reason.value for reason in Reason), problems.INTERNAL]:
        found = http.get(f"/problems/{code}")
        assert found.status_code == 200
        assert found.json()["reason"] == code
    assert len(http.get("/problems").json()) == len(Reason) + 1
    assert_problem(http.get("/problems/unheard-of"), 404, "not-found")


def test_unknown_address_and_wrong_method_are_problems(http: Http):
    assert_problem(http.get("/v1/nothing"), 404, "not-found")
    assert_problem(http.get("/v1/ledger/"), 404, "not-found")
    answer = http.request("DELETE", "/v1/heartbeats")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
    assert_problem(http.request("PUT", "/v1/ledger"), 405, "method-not-allowed")


def _raising(error: Exception):
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_refusal_of_the_ledger_keeps_its_reason_detail_and_field(node):
    refusal = Refused(Reason.CHIP_UNKNOWN, "no such chip", field="ueid")
    with serving(Altered(node, status=_raising(refusal))) as http:
        problem = assert_problem(http.get("/v1/ledger"), 404, "chip-unknown")
    assert (problem["detail"], problem["field"]) == ("no such chip", "ueid")


def test_a_storage_fault_is_503_with_retry_after_and_tells_no_cause(node):
    with serving(Altered(node, status=_raising(StorageError("secret cause")))) as http:
        answer = http.get("/v1/ledger")
    assert_problem(answer, 503, "storage-unavailable")
    assert answer.headers["retry-after"] == "1"
    assert "secret" not in answer.text


def test_a_defect_of_ours_is_500_with_a_problem_and_tells_no_cause(node):
    with serving(Altered(node, status=_raising(RuntimeError("secret cause")))) as http:
        answer = http.get("/v1/ledger")
        assert_problem(answer, 500, "internal-error")
        assert "secret" not in answer.text
        assert 'faults_total{error="RuntimeError"} 1.0' in http.get("/metrics").text


def test_contradictory_data_is_500_and_stops_the_service(node):
    from api.app import create_app
    from tests.api.harness import asyncio

    told: list[BaseException] = []
    fault = IntegrityError("the root is not the root")
    app = create_app(Altered(node, status=_raising(fault)), on_fatal=told.append)
    with asyncio.Runner() as runner:
        assert_problem(Http(runner, app).get("/v1/ledger"), 500, "internal-error")
    assert told == [fault]
