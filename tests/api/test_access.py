"""Who sees what over HTTP: every route for every role, and every Authorization header."""

import io
import logging
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as some

from api import logs, schemas
from ledger.errors import StorageError
from ledger.log.chain import decode_leaf
from ledger.log.tiles import entry_bundle_decode, tile_path
from ledger.protocol import statements as st
from ledger.service.clock import SimulatedClock
from ledger.service.tokens import TokenBook, Wanted
from ledger.service.viewer import AccessRole
from ledger.values import SubjectKind, subject_key
from tests.api.harness import Altered, Http, assert_problem, serving
from tests.api.test_openapi import operations
from tests.service.harness import Stage, open_node
from tests.world import FRANKFURT, KUALA_LUMPUR, SINGAPORE, Chip, World

REAL_MS = 1_900_000_000_000
DAY_MS = 86_400_000
ROLES = ("public", "mine", "other", "officer", "auditor")
"""The public; a holder of the chip asked for; one who holds none; and who sees every chip."""
HIDDEN = (
    *(b"nimbus", b"Nimbus Cloud", b"Ottokar Rechenzentrum", b"LIC-OTTO-7"),
    *(f"{number}".encode() for place in (FRANKFURT, SINGAPORE) for number in place),
    *(struct.pack(">d", number) for place in (FRANKFURT, SINGAPORE) for number in place),
)
"""Holder, site, licence and places of the world below, as they stand in JSON and in CBOR."""
LICENCE = "LIC-OTTO-7"


@dataclass
class Scene:
    """An app that asks for tokens, tokens of each role, and two chips of "nimbus".

    The first one claims to be elsewhere and is held; papers of others contradict its record.
    """

    http: Http
    stage: Stage
    tokens: dict[str, str]
    time: SimulatedClock

    @property
    def ueid(self) -> str:
        return self.stage.chips[0].ueid.hex()

    def get(self, path: str, role: str = "public", **arguments: Any) -> httpx.Response:
        return self.request("GET", path, role, **arguments)

    def request(self, method: str, path: str, role: str, **arguments: Any) -> httpx.Response:
        headers = dict(arguments.pop("headers", {}))
        if role != "public":
            headers["Authorization"] = f"Bearer {self.tokens[role]}"
        return self.http.request(method, path, headers=headers, **arguments)


def populate(stage: Stage) -> None:
    """Parties, licence and chips with names that are no words of the documentation."""
    world, node = stage.world, stage.node
    status = node.status()
    stage.take(world.genesis(status.ledger_key, status.verifier_key))
    maker, _, reseller = world.parties()
    nimbus = st.PartyStatement(
        iat=world.iat,
        id="nimbus",
        name="Nimbus Cloud",
        roles=["custodian"],
        country="DE",
        key=world.holder.public.to_cose_key(),
    )
    stage.take(maker, st.sign(nimbus, world.authority), reseller, world.policy())
    stage.take(world.licence(id=LICENCE, holder="nimbus"))
    stage.chips = [world.chip(number) for number in range(2)]
    stage.take(*map(world.birth, stage.chips))
    stage.take(
        world.ship(*stage.chips, to="nimbus", licence=LICENCE),
        world.receive(*stage.chips),
        world.install(*stage.chips, site="Ottokar Rechenzentrum", licence=LICENCE),
    )
    stage.conflict(world.ship(stage.chips[0], by=world.reseller, to="nimbus", licence=LICENCE))
    for place in (FRANKFURT, SINGAPORE, SINGAPORE):
        stage.hours(4)
        stage.beat(stage.chips[0], place=place)
    stage.hours(1)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, dict[str, str]]]:
    """A populated ledger and tokens for it."""
    folder: Path = tmp_path_factory.mktemp("access")
    stage = Stage(open_node(folder), World())
    populate(stage)
    book = TokenBook.open(stage.node.settings.database)
    wanted = {
        "mine": Wanted(AccessRole.HOLDER, "nimbus", lifetime_ms=DAY_MS),
        "other": Wanted(AccessRole.HOLDER, "reseller"),
        "officer": Wanted(AccessRole.OFFICER),
        "auditor": Wanted(AccessRole.AUDITOR),
        "expired": Wanted(AccessRole.AUDITOR, lifetime_ms=1),
        "revoked": Wanted(AccessRole.AUDITOR),
    }
    tokens = {}
    for number, (name, one) in enumerate(wanted.items()):
        text, made = book.create(one, REAL_MS, lambda size, n=number: bytes([0xA0 + n]) * size)  # type: ignore[misc]
        tokens[name] = text
    book.revoke(made.id, REAL_MS)
    book.close()
    yield stage, tokens
    stage.node.close()


@pytest.fixture(scope="module")
def scene(ledger: tuple[Stage, dict[str, str]]) -> Iterator[Scene]:
    stage, tokens = ledger
    time = SimulatedClock(REAL_MS + 1)
    with serving(stage.node, access="tokens", real_time=time) as http:
        yield Scene(http, stage, tokens, time)


# -- every route for every role ----------------------------------------------------------------

ANY, KNOWN, SEES = (200,) * 5, (401, 200, 200, 200, 200), (401, 200, 403, 200, 200)
BAD = (400,) * 5
"""Statuses by role, in the order of ``ROLES``: for all alike; for who is known; for who may see
the chip."""
COSE, TEXT = {"Content-Type": "application/cose"}, {"Content-Type": "text/plain"}

# What each route answers, asked in this way. A route without a row makes a test red: decide who
# may see what it shows.
TABLE: dict[tuple[str, str], Sequence[tuple[str, dict[str, Any], tuple[int, ...]]]] = {
    ("GET", "/v1/devices"): [("/v1/devices", {}, KNOWN)],
    ("GET", "/v1/devices/{ueid}"): [("/v1/devices/{ueid}", {}, ANY)],
    ("GET", "/v1/devices/{ueid}/history"): [("/v1/devices/{ueid}/history", {}, SEES)],
    ("GET", "/v1/devices/{ueid}/bundle"): [
        ("/v1/devices/{ueid}/bundle", {}, SEES),
        ("/v1/devices/{ueid}/bundle?redacted=false", {}, SEES),
        ("/v1/devices/{ueid}/bundle?redacted=true", {}, ANY),
        ("/v1/devices/01" + "5c" * 16 + "/bundle", {}, (401, 403, 403, 200, 200)),
    ],
    ("GET", "/v1/decisions"): [
        ("/v1/decisions", {}, KNOWN),
        ("/v1/decisions?action=hold", {}, KNOWN),
        ("/v1/decisions?ueid={ueid}", {}, SEES),
    ],
    ("GET", "/v1/entries"): [("/v1/entries?start=0&limit=1000", {}, ANY)],
    ("GET", "/v1/ledger"): [("/v1/ledger", {}, ANY)],
    ("GET", "/v1/clock"): [("/v1/clock", {}, ANY)],
    ("POST", "/v1/clock"): [("/v1/clock", {"json": {"now_ms": 0}}, (409,) * 5)],
    ("GET", "/v1/epoch"): [("/v1/epoch", {}, ANY)],
    ("GET", "/v1/landmarks"): [("/v1/landmarks", {}, (404,) * 5)],
    ("POST", "/v1/cosignatures"): [("/v1/cosignatures", {"content": b"x", "headers": TEXT}, BAD)],
    ("POST", "/v1/heartbeats"): [("/v1/heartbeats", {"content": b"\1", "headers": COSE}, BAD)],
    ("POST", "/v1/statements"): [("/v1/statements", {"content": b"\1", "headers": COSE}, BAD)],
    ("GET", "/log/checkpoint"): [("/log/checkpoint", {}, ANY)],
    ("GET", "/log/tile/{path}"): [
        ("/log/{hashes}", {}, ANY),
        ("/log/{entries}", {}, ANY),
    ],
    ("GET", "/log/heads/{path}"): [
        ("/log/heads/{size}/index-root", {}, ANY),
        ("/log/heads/{size}/bucket/000", {}, ANY),
        ("/log/heads/{size}/tile/0/000", {}, ANY),
    ],
    ("GET", "/log/proof/{index}"): [("/log/proof/9", {}, ANY)],
    ("GET", "/healthz"): [("/healthz", {}, ANY)],
    ("GET", "/readyz"): [("/readyz", {}, ANY)],
    ("GET", "/metrics"): [("/metrics", {}, ANY)],
    ("GET", "/problems"): [("/problems", {}, ANY)],
    ("GET", "/problems/{code}"): [("/problems/token-required", {}, ANY)],
    ("GET", "/"): [("/", {}, ANY)],
}
ROWS = [(method, *row) for (method, _), rows in TABLE.items() for row in rows]
LOOK_AT_TOKENS = re.compile("/v1/(devices|decisions|entries)")


def address(scene: Scene, path: str) -> str:
    size = int(scene.get("/log/checkpoint").text.split("\n")[1])
    return (
        path.replace("{ueid}", scene.ueid)
        .replace("{size}", str(size))
        .replace("{hashes}", tile_path(0, 0, size))
        .replace("{entries}", tile_path("entries", 0, size))
    )


def test_every_route_has_a_decision(scene: Scene) -> None:
    assert set(TABLE) == set(operations(scene.http.get("/openapi.json").json()))


@pytest.mark.parametrize(("method", "path", "arguments", "statuses"), ROWS)
def test_each_role_gets_what_the_table_says(
    scene: Scene, method: str, path: str, arguments: dict[str, Any], statuses: tuple[int, ...]
) -> None:
    where = address(scene, path)
    answers = {role: scene.request(method, where, role, **arguments) for role in ROLES}
    assert tuple(answer.status_code for answer in answers.values()) == statuses
    for role, answer in answers.items():
        if answer.status_code == 401:
            assert_problem(answer, 401, "token-required")
            assert answer.headers["www-authenticate"] == "Bearer"
        elif answer.status_code == 403:
            assert_problem(answer, 403, "token-insufficient")
            assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope"'
        else:
            assert "www-authenticate" not in answer.headers
        looks = LOOK_AT_TOKENS.match(path) is not None
        assert ("Authorization" in answer.headers.get("vary", "")) is looks, role
        if looks:
            assert answer.headers["cache-control"] == "no-store", role


@pytest.mark.parametrize(("method", "path", "arguments", "statuses"), ROWS)
@pytest.mark.parametrize("access", ["tokens", "open"])
def test_bad_token_is_refused_wherever_tokens_are_looked_at(
    scene: Scene,
    access: str,
    method: str,
    path: str,
    arguments: dict[str, Any],
    statuses: tuple[int, ...],
) -> None:
    where = address(scene, path)
    secret = scene.tokens["auditor"]
    bad = ["Bearer", "Bearer x", f"Basic {secret}", secret, f"Bearer {secret[:-3]}AAA", ""]
    bad += [f"Bearer {scene.tokens[name]}" for name in ("expired", "revoked")]
    with serving(scene.stage.node, access=access, real_time=scene.time) as http:
        for value in bad:
            headers = {**arguments.get("headers", {}), "Authorization": value}
            answer = http.request(method, where, **{**arguments, "headers": headers})
            if LOOK_AT_TOKENS.match(path):
                assert_problem(answer, 401, "token-invalid")
                assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
                assert "Authorization" in answer.headers["vary"]
            else:
                assert answer.status_code == statuses[0]


def test_scheme_is_named_in_any_case_and_blanks_may_follow(scene: Scene) -> None:
    for scheme in ("Bearer", "bearer", "BEARER", "Bearer  "):
        headers = {"Authorization": f"{scheme} {scene.tokens['officer']}"}
        assert scene.get("/v1/devices", headers=headers).status_code == 200


def test_two_headers_are_refused_even_where_both_are_good(scene: Scene) -> None:
    good = ("Authorization", f"Bearer {scene.tokens['officer']}")
    answer = scene.http.request("GET", "/v1/devices", headers=[good, good])
    assert_problem(answer, 401, "token-invalid")


def test_token_in_an_address_is_refused(scene: Scene) -> None:
    token = scene.tokens["officer"]
    for path in ("/v1/devices", f"/v1/devices/{scene.ueid}", "/v1/entries"):
        answer = scene.get(f"{path}?access_token={token}&start=0")
        assert answer.status_code in (401, 422)
        assert token not in answer.text


def test_head_needs_the_same_token(scene: Scene) -> None:
    assert scene.request("HEAD", "/v1/devices", "public").status_code == 401
    assert scene.request("HEAD", "/v1/devices", "mine").status_code == 200


def test_lists_are_narrowed_to_what_a_holder_holds(scene: Scene) -> None:
    for path in ("/v1/devices", "/v1/decisions"):
        counts = {
            role: len(scene.get(path, role).json()["items"]) for role in ROLES if role != "public"
        }
        assert counts["mine"] == counts["officer"] == counts["auditor"] > 0
        assert counts["other"] == 0
    assert scene.get("/v1/devices?holder=nimbus", "other").json()["items"] == []


def test_passport_of_another_s_chip_is_short(scene: Scene) -> None:
    found = {role: scene.get(f"/v1/devices/{scene.ueid}", role).json() for role in ROLES}
    short = {"ueid": scene.ueid, "model": "XA-100", "manufacturer": "maker", "state": "held"}
    assert found["public"] == found["other"] == short
    assert schemas.PublicPassport.model_validate(short)
    for role in ("mine", "officer", "auditor"):
        assert schemas.Passport.model_validate(found[role]).holder.id == "nimbus"
    assert_problem(scene.get("/v1/devices/01" + "5c" * 16), 404, "chip-unknown")


def test_bulk_is_for_auditors(scene: Scene) -> None:
    path = "/v1/entries?start=0&limit=1000"
    found = {role: scene.get(path, role).content for role in ROLES}
    assert found["public"] == found["mine"] == found["other"] == found["officer"]
    assert b"nimbus" not in found["public"]
    assert b"nimbus" in found["auditor"]


# -- nothing hidden reaches the public ---------------------------------------------------------


def everything(scene: Scene, role: str) -> bytes:
    """Every byte that the routes of the table give to a role, each chip asked for."""
    found = []
    for method, path, arguments, _ in ROWS:
        for chip in scene.stage.chips:
            where = address(scene, path.replace("{ueid}", chip.ueid.hex()))
            answer = scene.request(method, where, role, **arguments)
            found += [answer.content, str(answer.headers.raw).encode()]
    size = int(scene.get("/log/checkpoint").text.split("\n")[1])
    for index in range(size):
        found.append(scene.get(f"/log/proof/{index}", role).content)
    for number in range(256):
        found.append(scene.get(f"/log/heads/{size}/bucket/{number:03}", role).content)
    return b"\n".join(found)


@pytest.mark.parametrize("role", ["public", "other"])
def test_no_route_shows_the_public_a_holder_a_place_or_a_licence(scene: Scene, role: str) -> None:
    shown = everything(scene, role)
    assert scene.ueid.encode() in shown
    assert [text for text in HIDDEN if text in shown] == []


def test_what_is_hidden_from_the_public_an_auditor_sees(scene: Scene) -> None:
    """Or the test above would look for what is nowhere."""
    shown = everything(scene, "auditor")
    assert [text for text in HIDDEN if text not in shown] == []


def test_refusals_of_messages_show_no_holder_or_place(scene: Scene) -> None:
    """Messages need no token, so their answers must not say more than their sender knows."""
    stage, world = scene.stage, scene.stage.world
    stranger = Chip(99, stage.chips[0].ueid, world.chip(99).signer)
    tokens = [
        stranger.heartbeat(stage.node.epoch().id, world.now_ms, place=KUALA_LUMPUR),
        world.ship(stage.chips[0], by=world.reseller, to="reseller", licence=None),
        world.receive(stage.chips[0], by=world.reseller, sender="maker"),
    ]
    for token in tokens:
        path = "/v1/heartbeats" if token is tokens[0] else "/v1/statements"
        answer = scene.http.post(path, token, "application/cose")
        assert answer.status_code in (403, 409, 422)
        assert [text for text in HIDDEN if text in answer.content] == [], answer.text


def test_outsider_who_guesses_ids_follows_them_in_public_leaves(scene: Scene) -> None:
    """What docs/access.md warns of: this is so, and is not hidden."""
    guesses = {
        subject_key(SubjectKind.PARTY, name.encode()): name
        for name in ("acme", "maker", "nimbus", "reseller")
    }
    chip = subject_key(SubjectKind.CHIP, scene.stage.chips[0].ueid)
    size = int(scene.get("/log/checkpoint").text.split("\n")[1])
    bundle = scene.get(f"/log/{tile_path('entries', 0, size)}").content
    seen = []
    for leaf in map(decode_leaf, entry_bundle_decode(bundle, size)):
        subjects = {link.subject for link in leaf.links}
        if chip in subjects and leaf.kind != "heartbeat":
            names = sorted(guesses[subject] for subject in subjects & guesses.keys())
            seen.append((leaf.kind, *names))
    assert seen[:4] == [
        ("birth", "maker"),
        ("ship", "maker", "nimbus"),
        ("receive", "maker", "nimbus"),
        ("install", "nimbus"),
    ]
    assert [kind for kind, *_ in seen[4:]] == ["conflict", "decision"]


# -- time --------------------------------------------------------------------------------------


def test_token_ends_with_its_millisecond_and_by_real_time(ledger: Any) -> None:
    stage, tokens = ledger
    headers = {"Authorization": f"Bearer {tokens['mine']}"}
    time = SimulatedClock(REAL_MS + DAY_MS - 1)
    with serving(stage.node, access="tokens", real_time=time) as http:
        assert http.get("/v1/devices", headers=headers).status_code == 200
        time.move(REAL_MS + DAY_MS)
        problem = assert_problem(http.get("/v1/devices", headers=headers), 401, "token-invalid")
    assert problem["detail"].endswith("is expired")


def test_revoked_token_stops_at_once(scene: Scene) -> None:
    book = TokenBook.open(scene.stage.node.settings.database)
    text, made = book.create(Wanted(AccessRole.OFFICER), REAL_MS, lambda size: b"\x11" * size)
    headers = {"Authorization": f"Bearer {text}"}
    assert scene.get("/v1/devices", headers=headers).status_code == 200
    book.revoke(made.id, REAL_MS)
    assert_problem(scene.get("/v1/devices", headers=headers), 401, "token-invalid")
    book.close()


# -- open access -------------------------------------------------------------------------------


def test_open_service_needs_no_token(scene: Scene) -> None:
    with serving(scene.stage.node, access="open", real_time=scene.time) as http:
        whole = scene.get(f"/v1/devices/{scene.ueid}", "auditor")
        assert http.get(f"/v1/devices/{scene.ueid}").content == whole.content
        headers = {"Authorization": f"Bearer {scene.tokens['other']}"}
        assert http.get(f"/v1/devices/{scene.ueid}", headers=headers).content == whole.content


def test_service_asks_for_tokens_unless_told_otherwise(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.app import create_app
    from api.settings import ServiceSettings

    assert ServiceSettings().access == "tokens"
    assert create_app(scene.stage.node) is not None
    monkeypatch.setenv("CHIP_PASSPORT_HTTP_ACCESS", "open")
    assert ServiceSettings().access == "open"
    monkeypatch.setenv("CHIP_PASSPORT_HTTP_ACCESS", "ajar")
    with pytest.raises(ValueError, match="access"):
        ServiceSettings()


# -- any header --------------------------------------------------------------------------------

_PARTS = some.sampled_from(
    ["Bearer", "bearer ", "Basic", " ", ",", "=", '"', "cpt_", "cpt_a0a0a0a0_", "_", "é", "\t", "A"]
)


@some.composite
def _headers(draw: some.DrawFn, tokens: Sequence[str]) -> bytes:
    """Random bytes; pieces put together; a good header with some letters changed."""
    kind = draw(some.integers(0, 2))
    if kind == 0:
        return draw(some.binary(max_size=100))
    if kind == 1:
        return "".join(draw(some.lists(_PARTS | some.sampled_from(tokens)))).encode("latin-1")
    good = bytearray(f"Bearer {draw(some.sampled_from(tokens))}".encode())
    for _ in range(draw(some.integers(1, 3))):
        at = draw(some.integers(0, len(good) - 1))
        good[at] = draw(some.integers(0, 255))
    return bytes(good)


@given(data=some.data())
def test_any_header_is_refused_or_is_one_of_the_tokens(scene: Scene, data: some.DataObject) -> None:
    known = [scene.tokens[role] for role in ROLES if role != "public"]
    value = data.draw(_headers(known))
    path = data.draw(some.sampled_from([f"/v1/devices/{scene.ueid}", "/v1/devices"]))
    answer = scene.http.request("GET", path, headers=[(b"Authorization", value)])
    match = re.fullmatch(rb"(?i:bearer) +(\S+)", value)
    if match and match[1].decode("latin-1") in known:
        assert answer.status_code == 200
        return
    assert_problem(answer, 401, "token-invalid")
    assert not any(token in answer.text for token in known)


# -- logs, metrics, problems -------------------------------------------------------------------


@pytest.fixture
def _logging_is_restored() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("_logging_is_restored")
@pytest.mark.parametrize("form", ["json", "text"])
def test_no_log_metric_or_problem_shows_a_token(scene: Scene, form: Any) -> None:
    stream = io.StringIO()
    logs.configure(level="debug", form=form, stream=stream)
    faults = iter([StorageError("disk full"), RuntimeError("ours"), RuntimeError("ours")])

    def broken(*_arguments: object, **_named: object) -> None:
        raise next(faults)

    said = []
    altered = Altered(scene.stage.node, passports=broken, viewer=scene.stage.node.viewer)
    with serving(altered, access="tokens", real_time=scene.time) as http:
        for token in scene.tokens.values():
            headers = {"Authorization": f"Bearer {token}"}
            said.append(http.get("/v1/devices", headers=headers).text)
        said.append(http.get("/metrics").text)
    altered.viewer = broken
    with serving(altered, access="tokens", real_time=scene.time) as http:
        said.append(http.get("/v1/devices", headers=headers).text)
    written = stream.getvalue()
    assert "storage fault" in written
    assert "unexpected fault" in written
    for token in scene.tokens.values():
        secret = token.rpartition("_")[2]
        assert not any(secret in text for text in (*said, written))
