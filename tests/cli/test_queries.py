"""``devices``, ``history``, ``decisions``: tables, JSON, both sources, and what they refuse."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.cli import show
from api.cli.options import DATABASE_VARIABLE, DEMO_DATABASE
from api.cli.queries import Action, State
from api.embedded import ServerThread
from api.settings import ServiceSettings
from ledger.protocol import statements as st
from ledger.registry.records import ChipState
from tests.cli.harness import Program, Story
from tests.service.harness import open_node

EXACT_LINES = 30


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, story: Story) -> Iterator[str]:
    """The same ledger behind a service."""
    folder = tmp_path_factory.mktemp("served")
    for path in [story.database, *(story.database.parent / "keys").iterdir()]:
        target = folder / path.relative_to(story.database.parent)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        target.write_bytes(path.read_bytes())
        target.chmod(0o600)
    node = open_node(folder)
    try:
        with ServerThread(node, settings=ServiceSettings(access="open")) as running:
            yield running.url
    finally:
        node.close()


def test_choices_are_those_of_the_ledger() -> None:
    assert [str(item) for item in State] == [str(item) for item in ChipState]
    actions = st.Decision.model_fields["action"].annotation
    assert [str(item) for item in Action] == list(actions.__args__)  # type: ignore[union-attr]


def test_devices_lists_every_chip_with_state_and_claim(program: Program, story: Story) -> None:
    done = program("devices", "--database", story.database)
    assert (done.code, done.err) == (0, "")
    heading, *rows = done.out.splitlines()
    assert heading.split()[:3] == ["chip", "model", "state"]
    by_chip = {row.split()[0]: row for row in rows}
    assert set(by_chip) == {story.stays, story.diverted, story.silent}
    assert "held" in by_chip[story.diverted]
    assert "but claims SG" in by_chip[story.diverted]
    assert "claims" not in by_chip[story.stays]


@pytest.mark.parametrize("columns", ["80", "100", "112", "120"])
@pytest.mark.parametrize("command", ["devices", "decisions", "history", "full"])
def test_nothing_is_cut_or_too_wide_at_a_given_width(
    program: Program,
    story: Story,
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
    command: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    words = {"history": ["history", story.diverted], "full": ["history", story.diverted, "--full"]}
    done = program(*words.get(command, [command]), "--database", story.database)
    assert done.code == 0
    assert "…" not in done.out
    assert max(map(len, done.out.splitlines())) <= int(columns)
    if command in ("devices", "decisions"):
        assert story.diverted in done.out.split()
    if command == "full":
        assert all(len(line.split()[1]) == 64 for line in done.out.splitlines() if "leaf" in line)


ACCUSED = {
    "ueid": "01ab",
    "model": "XA-100",
    "state": "active",
    "flags": ["suspect"],
    "holder": {"id": "holder"},
    "in_transit_to": None,
    "place": {"country": "DE", "site": None, "claimed": None},
    "last_heartbeat": None,
}


@pytest.mark.parametrize(
    ("author", "said"),
    [
        ("reseller", "suspect (says reseller)"),
        (None, "(says another party)"),
        ("verifier", "suspect "),
    ],
)
def test_chip_that_others_speak_against_is_told_from_one_that_failed(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    author: str | None,
    said: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # a table has a row for each chip where it fits
    reason = {"flag": "suspect", "author": author, "words": "a paper", "index": 7}
    show.devices([ACCUSED | {"flag_reasons": [reason]}], None)
    row = capsys.readouterr().out.splitlines()[1]
    assert said in row
    assert ("says" in row) == (author != "verifier")


def test_narrow_list_gives_the_reason_of_a_flag(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    reason = {"flag": "suspect", "author": "reseller", "words": "a paper says so", "index": 7}
    show.devices([ACCUSED | {"flag_reasons": [reason]}], None)
    assert "    suspect: a paper says so" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("columns", "lines"), [("80", 3), ("100", 2)])
def test_signer_that_does_not_fit_the_heading_has_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str, lines: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    item = {
        "effective_ms": 0,
        "action": "release",
        "ueid": "01" * 17,
        "signer": "officer-with-a-long-name",
        "rules": [],
        "reasons": ["looked into"],
    }
    show.decisions([item], None)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == lines
    assert (told[1] == "    by officer-with-a-long-name") == (lines == 3)
    assert told[-1] == "    looked into"


def test_devices_filters(program: Program, story: Story) -> None:
    def chips(*words: str) -> list[str]:
        done = program("devices", "--json", "--database", story.database, *words)
        return [item["ueid"] for item in done.json["items"]]

    assert chips("--state", "held") == [story.diverted]
    assert chips("--country", "de") == chips() == sorted(chips())
    assert len(chips("--holder", "holder")) == len(chips("--model", "XA-100")) == 3
    assert chips("--country", "SG") == chips("--holder", "nobody") == []


def test_devices_that_do_not_exist_are_said_in_words(program: Program, story: Story) -> None:
    done = program("devices", "--database", story.database, "--country", "SG")
    assert (done.code, done.out) == (0, "no chip fits\n")


def test_history_tells_a_life_in_order(program: Program, story: Story) -> None:
    done = program("history", story.diverted, "--database", story.database)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()[1:]
    assert [line.split()[3] for line in lines] == [
        *("birth", "ship", "receive", "install", "heartbeat", "heartbeat", "decision", "heartbeat")
    ]
    assert "18 heartbeats, to 2026-01-03 20:00, claiming 50.1109° N, 8.6821° E" in lines[4]
    assert "(its site Frankfurt 1, DE)" in lines[4]
    assert "HOLD" in lines[6]
    assert "(10,258 km from its site Frankfurt 1, DE)" in lines[7]


def test_history_shows_silence_as_a_new_line(program: Program, story: Story) -> None:
    done = program("history", story.silent, "--database", story.database)
    counts = [line for line in done.out.splitlines() if "heartbeats, to" in line]
    assert len(counts) == 2
    assert "8 heartbeats, to 2026-01-02 04:00" in counts[0]
    assert "10 heartbeats" in counts[1]


def test_history_as_json_is_complete(program: Program, story: Story) -> None:
    done = program("history", story.diverted, "--json", "--database", story.database)
    items, more = done.json["items"], done.json["more"]
    assert more is False
    assert [item["seq"] for item in items] == list(range(len(items)))
    assert sum(item["kind"] == "heartbeat" for item in items) == EXACT_LINES
    assert all(len(item["leaf_hash"]) == 64 for item in items)


def test_history_in_full_gives_every_entry_with_its_hashes(program: Program, story: Story) -> None:
    done = program("history", story.diverted, "--full", "--database", story.database)
    json = program("history", story.diverted, "--json", "--database", story.database).json
    hashes = [line.split()[1] for line in done.out.splitlines() if line.startswith("    leaf ")]
    assert hashes == [item["leaf_hash"] for item in json["items"]]


@pytest.mark.parametrize("digits", [8, 9, 33, 34])
def test_beginning_of_a_ueid_names_its_chip(program: Program, story: Story, digits: int) -> None:
    done = program("history", story.stays[:digits].upper(), "--json", "--database", story.database)
    assert done.json == program("history", story.stays, "--json", "--database", story.database).json


def test_decisions_give_chip_action_and_reasons(program: Program, story: Story) -> None:
    done = program("decisions", "--database", story.database)
    heading, reason = done.out.splitlines()[:2]
    assert heading.split()[2:4] == ["HOLD", story.diverted]
    assert reason.startswith("    travel: ")


def test_decisions_say_no_word_twice(capsys: pytest.CaptureFixture[str]) -> None:
    item = {
        "effective_ms": 0,
        "action": "hold",
        "ueid": "01ab",
        "signer": "verifier",
        "rules": ["debug", "licence"],
        "reasons": ["debug: debug status enabled is not allowed", "licence: licence L-1 covers DE"],
    }
    show.decisions([item], None)
    assert capsys.readouterr().out.splitlines() == [
        "1970-01-01 00:00  HOLD     01ab  by verifier",
        "    debug: status enabled is not allowed",
        "    licence: L-1 covers DE",
    ]


def test_decisions_filter_by_chip_and_action(program: Program, story: Story) -> None:
    words = ["decisions", "--json", "--database", str(story.database)]
    assert len(program(*words, "--ueid", story.diverted[:10]).json["items"]) >= 1
    assert program(*words, "--ueid", story.stays).json["items"] == []
    assert program(*words, "--action", "revoke").json["items"] == []
    done = program("decisions", "--action", "revoke", "--database", story.database)
    assert done.out == "no decision fits\n"


def test_limit_says_on_stderr_that_there_is_more(program: Program, story: Story) -> None:
    done = program("devices", "--limit", "2", "--database", story.database)
    assert len(done.out.splitlines()) == 3
    assert done.err == "there are more; --all shows all, --limit N another number\n"
    assert program("devices", "--limit", "3", "--database", story.database).err == ""
    done = program("history", story.stays, "--json", "--limit", "2", "--database", story.database)
    assert (len(done.json["items"]), done.json["more"], done.err) == (2, True, "")
    done = program("history", story.stays, "--limit", "2", "--database", story.database)
    assert len(done.out.splitlines()) == 3


@pytest.mark.parametrize(
    "words",
    [
        ["devices"],
        ["devices", "--state", "held"],
        ["history", "STAYS"],
        ["history", "DIVERTED"],
        ["decisions"],
        ["decisions", "--ueid", "DIVERTED", "--action", "hold"],
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_database_and_service_answer_alike(
    program: Program, story: Story, service: str, words: list[str], form: list[str]
) -> None:
    chips = {"STAYS": story.stays[:12], "DIVERTED": story.diverted}
    words = [chips.get(word, word) for word in words] + form
    direct = program(*words, "--database", story.database)
    asked = program(*words, "--url", service)
    assert direct.code == 0
    assert direct == asked


def test_demo_ledger_is_the_default(program: Program, story: Story) -> None:
    target = Path(DEMO_DATABASE)
    target.parent.mkdir()
    target.write_bytes(story.database.read_bytes())
    assert len(program("devices", "--json").json["items"]) == 3


def test_environment_names_the_database_and_an_option_wins(
    program: Program, story: Story, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, str(story.database))
    assert program("devices").code == 0
    monkeypatch.setenv(DATABASE_VARIABLE, "nowhere.db")
    assert program("devices").complaint == "there is no ledger at nowhere.db"
    assert program("devices", "--url", service).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["history", "frankfurt"], "'frankfurt' is no chip's number"),
        (["history", "0123456"], "'0123456' is no chip's number"),
        (["history", ""], "'' is no chip's number"),
        (["history", "01234567"], "no chip 01234567 on this ledger"),
        (["history", "01" + "ab" * 16], "no chip 01abab"),
        (["decisions", "--ueid", "01" + "ab" * 16], "no chip 01abab"),
        (["decisions", "--ueid", "xyz"], "'xyz' is no chip's number"),
        (["devices", "--limit", "0"], "Invalid value for '--limit'"),
        (["devices", "--limit", "3", "--all"], "--all and --limit exclude each other"),
        (["devices", "--state", "lost"], "Invalid value for '--state'"),
        (["devices", "--url", "http://127.0.0.1:1"], "--database and --url exclude each other"),
        (["devices", "--colour"], "No such option"),
        (["history"], "Missing argument 'UEID'"),
    ],
)
def test_question_that_cannot_be_answered_is_one_line(
    program: Program, story: Story, words: list[str], said: str
) -> None:
    assert said in program(*words, "--database", story.database).complaint


def test_unknown_chip_is_one_line_from_a_service_too(program: Program, service: str) -> None:
    unknown = "01" + "ab" * 16
    assert program("history", unknown, "--url", service).complaint.startswith(f"no chip {unknown}")
    said = program("decisions", "--ueid", unknown, "--url", service).complaint
    assert f"no chip {unknown}" in said


def test_beginning_of_several_chips_is_refused_with_examples(
    program: Program, story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.cli.sources.MIN_PREFIX", 2)
    said = program("history", "01", "--database", story.database).complaint
    chips = sorted((story.stays, story.diverted, story.silent))
    assert f"several chips, such as {chips[0]} and {chips[1]}" in said


def test_no_ledger_and_no_service_says_what_to_run(program: Program) -> None:
    said = program("devices").complaint
    assert "run: chip-passport demo" in said


def test_service_that_is_down_is_one_line(program: Program) -> None:
    said = program("devices", "--json", "--url", "http://127.0.0.1:1").complaint
    assert said.startswith("no service answers at http://127.0.0.1:1")


def test_url_that_is_none_is_one_line(program: Program) -> None:
    assert "not an http:// or https:// URL" in program("devices", "--url", "ftp://x").complaint


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"not a database, but long enough to look", "not a usable ledger"), (b"", "no ledger")],
)
def test_file_that_is_no_ledger_is_one_line(
    program: Program, tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(content)
    assert said in program("devices", "--database", path).complaint


def test_database_of_another_kind_is_one_line_without_its_password(program: Program) -> None:
    said = program("devices", "--database", "mysql://me:secret@host/x").complaint
    assert "mysql is not supported" in said
    assert "secret" not in said
