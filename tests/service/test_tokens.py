"""Access tokens: made, kept as a digest, taken while in force; and what each role sees."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some
from sqlalchemy import Engine, update

from ledger.errors import ConfigurationError, Reason, Refused
from ledger.service import tokens as module
from ledger.service.check import check_ledger
from ledger.service.node import Node
from ledger.service.tokens import AccessToken, TokenBook, Wanted, viewer_by_token
from ledger.service.viewer import EVERYBODY, OPEN, AccessRole, Viewer
from ledger.service.views import PassportFilter
from ledger.store.engine import open_engine, writing
from ledger.store.token_rows import token_table
from tests.service.harness import Stage, found, founded, open_node
from tests.world import SINGAPORE

NOW_MS = 1_800_000_000_000
HOLDER = Wanted(AccessRole.HOLDER, "holder", "racks", 1_000)
OFFICER = Wanted(AccessRole.OFFICER)


class Bytes:
    """Randomness that a test foresees: 00…, 01…, 02…, each time."""

    def __init__(self, first: int = 0) -> None:
        self.next = first

    def __call__(self, size: int) -> bytes:
        self.next += 1
        return bytes([self.next - 1]) * size


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Two chips of "holder", and one that its maker has kept."""
    stage = founded(tmp_path, chips=2)
    stage.chips.append(stage.world.chip(2))
    stage.take(stage.world.birth(stage.chips[2]))
    stage.node.follow()
    yield stage
    stage.node.close()


@pytest.fixture
def book(stage: Stage) -> Iterator[TokenBook]:
    """The tokens of its ledger, while a node has it open."""
    book = TokenBook.open(stage.node.settings.database)
    yield book
    book.close()


def refusal(ask: Callable[[], object]) -> str:
    with pytest.raises(Refused) as error:
        ask()
    assert error.value.reason is Reason.TOKEN_INVALID
    return error.value.detail


# -- the token -------------------------------------------------------------------------------


def test_token_is_an_id_and_a_secret_and_only_the_secret_s_digest_is_kept(
    stage: Stage, book: TokenBook
) -> None:
    text, made = book.create(HOLDER, NOW_MS, Bytes(0xAB))
    assert text == "cpt_acacacac_" + "q6ur" * 10 + "q6s"
    assert made == AccessToken(
        "acacacac", AccessRole.HOLDER, "holder", "racks", NOW_MS, NOW_MS + 1_000
    )
    assert book.tokens() == [made]
    assert stage.node.viewer(text, NOW_MS) == Viewer(AccessRole.HOLDER, "holder")
    stored = b"".join(
        path.read_bytes() for path in Path(stage.node.settings.database).parent.glob("ledger.db*")
        if path.is_file()
    )  # fmt: skip
    assert b"acacacac" in stored
    for secret in (b"\xab" * 32, b"q6ur" * 10, b"ab" * 32):
        assert secret not in stored


def test_every_other_text_of_a_token_is_refused(stage: Stage, book: TokenBook) -> None:
    text, _ = book.create(OFFICER, NOW_MS, Bytes(7))
    assert stage.node.viewer(text, NOW_MS) == Viewer(AccessRole.OFFICER)
    for changed in (
        "", "cpt_", text[:-1], text + "=", text + "A", " " + text, text + "\n", text.upper(),
        text.replace("cpt_", "cpt-"), text.replace("cpt_08", "cpt_8"), "é" + text[1:],
    ):  # fmt: skip
        assert "not the form" in refusal(lambda text=changed: stage.node.viewer(text, NOW_MS))  # type: ignore[misc]


def test_a_second_text_for_the_same_bytes_is_refused(stage: Stage, book: TokenBook) -> None:
    """43 letters of base64 hold two bits more than 32 bytes."""
    text, _ = book.create(OFFICER, NOW_MS, Bytes(7))
    twin = text[:-1] + chr(ord(text[-1]) + 1)
    assert module._decoded(twin[-43:]) is None
    assert "not the form" in refusal(lambda: stage.node.viewer(twin, NOW_MS))


def test_unknown_id_and_wrong_secret_are_worked_on_and_refused_alike(
    stage: Stage, book: TokenBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, _ = book.create(OFFICER, NOW_MS, Bytes(7))
    compared: list[tuple[bytes, bytes]] = []
    compare = module.hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", noted)
    wrong = text[:13] + "A" * 43
    unknown = "cpt_ffffffff_" + text[13:]
    said = {refusal(lambda text=text: stage.node.viewer(text, NOW_MS)) for text in (wrong, unknown)}  # type: ignore[misc]
    assert said == {"no such access token is known here"}
    assert len(compared) == 2
    assert all(len(part) == 32 for pair in compared for part in pair)


@given(some.text(max_size=80) | some.from_regex(module._TOKEN, fullmatch=True))
def test_any_text_is_refused_as_a_token(any_engine: Engine, text: str) -> None:
    with any_engine.connect() as connection, pytest.raises(Refused) as error:
        viewer_by_token(connection, text, NOW_MS)
    assert error.value.reason is Reason.TOKEN_INVALID
    assert text == "" or len(text) < 8 or text not in str(error.value)


@pytest.fixture(scope="module")
def any_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    stage = founded(tmp_path_factory.mktemp("tokens"))
    stage.node.close()
    engine = open_engine(stage.node.settings.database)
    yield engine
    engine.dispose()


def test_token_is_good_until_the_millisecond_of_its_end(stage: Stage, book: TokenBook) -> None:
    text, made = book.create(HOLDER, NOW_MS, Bytes())
    assert made.expires_ms == NOW_MS + 1_000
    stage.node.viewer(text, NOW_MS + 999)
    assert refusal(lambda: stage.node.viewer(text, NOW_MS + 1_000)) == (
        "access token 01010101 is expired"
    )
    assert [made.state(NOW_MS + late) for late in (999, 1_000)] == ["active", "expired"]


def test_token_without_an_end_is_good_until_it_is_revoked(stage: Stage, book: TokenBook) -> None:
    text, made = book.create(OFFICER, NOW_MS, Bytes())
    far = NOW_MS * 5
    stage.node.viewer(text, far)
    assert book.revoke(made.id, far).revoked_ms == far
    assert refusal(lambda: stage.node.viewer(text, far)) == "access token 01010101 is revoked"
    # Also for a node whose clock is behind that of the machine where it was revoked.
    assert "revoked" in refusal(lambda: stage.node.viewer(text, NOW_MS))
    assert book.revoke(made.id, far + 5).revoked_ms == far, "the first time stays"
    assert [token.state(NOW_MS) for token in book.tokens()] == ["revoked"]


def test_id_that_is_taken_is_passed_over(stage: Stage, book: TokenBook) -> None:
    first, _ = book.create(OFFICER, NOW_MS, lambda size: b"\x01" * size)
    again = iter([b"\x02" * 32, b"\x01" * 4, b"\x03" * 4])
    second, made = book.create(OFFICER, NOW_MS, lambda _size: next(again))
    assert made.id == "03030303"
    assert stage.node.viewer(first, NOW_MS) == stage.node.viewer(second, NOW_MS)
    with pytest.raises(ConfigurationError, match="no free token id"):
        book.create(OFFICER, NOW_MS, lambda size: b"\x01" * size)
    assert len(book.tokens()) == 2


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(AccessRole.HOLDER), "name it with --party"),
        (Wanted(AccessRole.HOLDER, "nobody"), "no party 'nobody' is registered on this ledger"),
        (Wanted(AccessRole.OFFICER, "holder"), "leave --party out"),
        (Wanted(AccessRole.AUDITOR, "holder"), "leave --party out"),
        (Wanted(AccessRole.PUBLIC), "no token is made for that"),
        (Wanted(AccessRole.OFFICER, label="x" * 65), "at most 64 characters"),
        (Wanted(AccessRole.OFFICER, label="a\nb"), "one line"),
        (Wanted(AccessRole.OFFICER, label="a\u202eb"), "one line"),
    ],
)
def test_token_that_could_not_be_meant_is_not_made(
    book: TokenBook, wanted: Wanted, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        book.create(wanted, NOW_MS, Bytes())
    assert book.tokens() == []


@pytest.mark.parametrize("ident", ["", "xyz", "0101010", "010101010", "01010101\n", "0A0A0A0A"])
def test_revoking_takes_an_id(book: TokenBook, ident: str) -> None:
    with pytest.raises(ConfigurationError, match="8 hex digits behind cpt_"):
        book.revoke(ident, NOW_MS)


def test_revoking_an_unknown_token_says_so(book: TokenBook) -> None:
    with pytest.raises(ConfigurationError, match="there is no token 01010101"):
        book.revoke("01010101", NOW_MS)


def test_tokens_need_a_ledger_of_this_schema(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no ledger"):
        TokenBook.open(str(tmp_path / "none.db"))
    assert not list(tmp_path.iterdir()), "no file is made"
    sqlite3.connect(tmp_path / "other.db").close()
    with pytest.raises(ConfigurationError, match="holds no ledger"):
        TokenBook.open(str(tmp_path / "other.db"))


# -- two processes, two engines ---------------------------------------------------------------


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def used(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    """A node on a ledger with a world in it."""
    database = None
    if request.param == "postgresql":
        database = str(request.getfixturevalue("postgres_database"))
    stage = found(open_node(tmp_path, database))
    yield stage.node
    stage.node.close()


def test_token_counts_at_once_for_a_node_that_is_running(used: Node) -> None:
    book = TokenBook.open(used.settings.database)
    try:
        text, made = book.create(HOLDER, NOW_MS, Bytes())
        assert used.viewer(text, NOW_MS) == Viewer(AccessRole.HOLDER, "holder")
        assert book.tokens() == [made]
        book.revoke(made.id, NOW_MS + 1)
        assert "revoked" in refusal(lambda: used.viewer(text, NOW_MS + 2))
    finally:
        book.close()
    used.set_time(used.clock.now_ms() + 3_600_000)
    assert used.status().size > 0, "the node goes on writing"
    report = check_ledger(used.settings.database)
    assert report.sound, report.faults


# -- check ------------------------------------------------------------------------------------


def changed(stage: Stage, **values: object) -> str:
    """What check finds after a row's values were changed."""
    engine = open_engine(stage.node.settings.database)
    with writing(engine) as connection:
        connection.execute(update(token_table).values(**values))
    engine.dispose()
    report = check_ledger(stage.node.settings.database)
    return "" if report.sound else f"{report.faults[0].place}: {report.faults[0].problem}"


def test_ledger_with_tokens_is_sound(stage: Stage, book: TokenBook) -> None:
    for wanted in (HOLDER, OFFICER, Wanted(AccessRole.AUDITOR)):
        book.create(wanted, NOW_MS, Bytes(20 * len(book.tokens())))
    book.revoke(book.tokens()[0].id, NOW_MS)
    stage.node.follow()
    assert changed(stage, label="") == ""


@pytest.mark.parametrize(
    "values",
    [
        {"role": "king"},
        {"role": "public", "party": None},
        {"party": None},
        {"role": "officer"},
        {"digest": b"short"},
        {"id": "ABCDEFGH"},
    ],
)
def test_row_that_is_never_written_is_found_and_opens_nothing(
    stage: Stage, book: TokenBook, values: dict[str, object]
) -> None:
    text, _ = book.create(HOLDER, NOW_MS, Bytes())
    assert changed(stage, **values).endswith("it is not a row that is ever written")
    refusal(lambda: stage.node.viewer(text, NOW_MS))
    assert book.tokens() == []


def test_holder_s_token_for_nobody_is_found(stage: Stage, book: TokenBook) -> None:
    book.create(HOLDER, NOW_MS, Bytes())
    said = changed(stage, party="nobody")
    assert said == "table access_tokens, row 01010101: no party nobody is registered"


@pytest.mark.parametrize("column", ["created_ms", "expires_ms"])
def test_value_of_another_type_is_found(stage: Stage, book: TokenBook, column: str) -> None:
    book.create(HOLDER, NOW_MS, Bytes())
    with sqlite3.connect(stage.node.settings.database) as connection:
        connection.execute(f"UPDATE access_tokens SET {column} = 'soon'")
    connection.close()
    report = check_ledger(stage.node.settings.database)
    assert report.faults[0].place == "table access_tokens"


# -- what a viewer sees -----------------------------------------------------------------------

HOLDERS = Viewer(AccessRole.HOLDER, "holder")
MAKERS = Viewer(AccessRole.HOLDER, "maker")
STRANGERS = Viewer(AccessRole.HOLDER, "reseller")
OFFICERS, AUDITORS = Viewer(AccessRole.OFFICER), Viewer(AccessRole.AUDITOR)
NOBODYS = Viewer(AccessRole.HOLDER)
"""No such token is ever made."""


def listed(stage: Stage, viewer: Viewer, **wanted: str) -> list[int]:
    """Numbers of the chips that a viewer finds in the list."""
    page = stage.node.passports(PassportFilter(**wanted), None, 100, viewer=viewer)
    numbers = {chip.ueid.hex(): chip.number for chip in stage.chips}
    return sorted(numbers[item["ueid"]] for item in page.items)


def test_list_has_the_chips_that_the_viewer_may_see(stage: Stage) -> None:
    viewers = (HOLDERS, MAKERS, STRANGERS, NOBODYS, OFFICERS, AUDITORS, OPEN)
    assert [listed(stage, viewer) for viewer in viewers] == [
        [0, 1], [2], [], [], [0, 1, 2], [0, 1, 2], [0, 1, 2],
    ]  # fmt: skip
    assert listed(stage, HOLDERS, holder="maker") == []
    assert listed(stage, HOLDERS, holder="holder", state="registered") == listed(stage, HOLDERS)
    assert listed(stage, MAKERS, state="held") == []
    with pytest.raises(Refused) as error:
        listed(stage, EVERYBODY)
    assert error.value.reason is Reason.TOKEN_REQUIRED


def test_pages_of_a_holder_have_no_gaps(stage: Stage) -> None:
    first = stage.node.passports(PassportFilter(), None, 1, viewer=HOLDERS)
    assert first.next is not None
    second = stage.node.passports(PassportFilter(), first.next, 1, viewer=HOLDERS)
    assert second.next is None
    found = [*first.items, *second.items]
    assert found == stage.node.passports(PassportFilter(holder="holder"), None, 9).items


def test_passport_is_whole_or_short(stage: Stage) -> None:
    ueid = stage.chips[0].ueid
    whole = stage.node.passport(ueid)
    short = {"ueid": ueid.hex(), "model": "XA-100", "manufacturer": "maker", "state": "registered"}
    for viewer in (HOLDERS, OFFICERS, AUDITORS):
        assert stage.node.passport(ueid, viewer=viewer) == whole
    for viewer in (EVERYBODY, MAKERS, STRANGERS, NOBODYS):
        assert stage.node.passport(ueid, viewer=viewer) == short


def test_who_passes_a_chip_on_sees_it_no_longer(stage: Stage) -> None:
    chip, world = stage.chips[2], stage.world
    assert len(stage.node.history(chip.ueid, None, 9, viewer=MAKERS).items) == 1
    stage.take(world.ship(chip))
    assert "holder" in stage.node.passport(chip.ueid, viewer=MAKERS), "still the one who has it"
    assert "holder" not in stage.node.passport(chip.ueid, viewer=HOLDERS)
    stage.take(world.receive(chip))
    assert "holder" not in stage.node.passport(chip.ueid, viewer=MAKERS)
    assert "holder" in stage.node.passport(chip.ueid, viewer=HOLDERS)


def test_life_of_a_chip_is_for_its_holder_officers_and_auditors(stage: Stage) -> None:
    stage.node.publish()
    node, mine, strange = stage.node, stage.chips[0].ueid, b"\x01" + bytes(16)
    questions: list[Callable[[bytes, Viewer], object]] = [
        lambda ueid, viewer: node.history(ueid, None, 9, viewer=viewer),
        lambda ueid, viewer: node.decisions(ueid, None, None, 9, viewer=viewer),
        lambda ueid, viewer: node.bundle(ueid, viewer=viewer),
    ]

    def reason(ask: Callable[[bytes, Viewer], object], ueid: bytes, viewer: Viewer) -> Reason:
        with pytest.raises(Refused) as error:
            ask(ueid, viewer)
        return error.value.reason

    for ask in questions:
        for viewer in (HOLDERS, OFFICERS, AUDITORS):
            assert ask(mine, viewer) == ask(mine, OPEN)
        for viewer in (MAKERS, STRANGERS, NOBODYS):
            assert reason(ask, mine, viewer) is Reason.TOKEN_SCOPE
        for ueid in (mine, strange):
            assert reason(ask, ueid, EVERYBODY) is Reason.TOKEN_REQUIRED
    assert [reason(ask, strange, HOLDERS) for ask in questions] == [
        Reason.CHIP_UNKNOWN, Reason.CHIP_UNKNOWN, Reason.TOKEN_SCOPE,
    ]  # fmt: skip
    redacted = {
        node.bundle(mine, redacted=True, viewer=viewer)
        for viewer in (EVERYBODY, STRANGERS, HOLDERS, OFFICERS, OPEN)
    }
    assert len(redacted) == 1


def test_decisions_of_a_holder_are_about_its_chips(stage: Stage) -> None:
    for _ in range(2):
        stage.hours(4)
        stage.beat(stage.chips[0], place=SINGAPORE)
    everything = stage.node.decisions(None, None, None, 9).items
    assert [item["ueid"] for item in everything] == [stage.chips[0].ueid.hex()]
    counts = [
        len(stage.node.decisions(None, None, None, 9, viewer=viewer).items)
        for viewer in (HOLDERS, MAKERS, STRANGERS, NOBODYS, OFFICERS, AUDITORS)
    ]
    assert counts == [1, 0, 0, 0, 1, 1]
