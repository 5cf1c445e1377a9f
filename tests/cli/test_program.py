"""The program as a whole: help, version, how it ends."""

import os
import subprocess
from pathlib import Path

import pytest

from api.cli import program as program_module
from api.cli.program import run
from ledger.errors import IntegrityError, Reason, Refused
from tests.cli.harness import COMMAND, Program, Story, environment

COMMANDS = (
    *("demo", "devices", "history", "decisions", "check", "bundle", "verify"),
    *("locate", "serve", "token", "fleet", "witness"),
)


def test_help_explains_the_five_words_and_lists_every_command(program: Program) -> None:
    done = program("--help")
    assert (done.code, done.err) == (0, "")
    for word in ("chip ", "heartbeat ", "ledger ", "verdict ", "hold ", *COMMANDS):
        assert f"\n    {word}" in done.out or f"\n  {word}" in done.out
    assert "--debug" not in done.out


@pytest.mark.parametrize("command", [*COMMANDS, "token create", "fleet run", "fleet validate"])
def test_every_command_has_help_whose_summary_is_not_cut(program: Program, command: str) -> None:
    done = program(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: chip-passport {command} ")
    assert "..." not in done.out.replace("COMMAND [ARGS]...", "")


@pytest.mark.parametrize("where", ["raise KeyboardInterrupt", "exec('raise KeyboardInterrupt')"])
def test_interrupt_anywhere_ends_with_130_and_not_by_the_signal(tmp_path: Path, where: str) -> None:
    """Libraries run generated code while they are imported, and Python counts that apart."""
    (tmp_path / "interrupted.py").write_text(
        "from api.cli import program\n"
        f"def interrupted(words):\n    {where}\n"
        "program._invoke = interrupted\nraise SystemExit(program.run([]))"
    )
    command = [*COMMAND[:1], "-m", "interrupted"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "chip-passport: interrupted\n")


LOADED = """
import sys
from api.cli.program import run
code = run(sys.argv[2:])
heavy = set(sys.argv[1].split(",")) & set(sys.modules)
print(code, "loaded:", *sorted(heavy))
"""
SERVER = "fastapi,starlette,uvicorn,httpx,api.client,api.server,ledger.service.node"
SIMULATOR = "device_sim,numpy,shapely,ledger.geo,ledger.appraisal.appraiser"


def loaded(folder: Path, heavy: str, *words: str | Path) -> str:
    """Exit code, and which of ``heavy`` a program that ran with ``words`` had imported."""
    command = [*COMMAND[:1], "-c", LOADED, heavy, *map(str, words)]
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def test_help_does_not_load_what_commands_need(tmp_path: Path) -> None:
    heavy = f"sqlalchemy,rich,pydantic,alembic,cryptography,{SERVER},{SIMULATOR}"
    assert loaded(tmp_path, heavy, "--help") == "0 loaded:"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_does_not_load_what_it_needs(tmp_path: Path, command: str) -> None:
    heavy = f"sqlalchemy,rich,alembic,cryptography,{SERVER},{SIMULATOR}"
    assert loaded(tmp_path, heavy, command, "--help") == "0 loaded:"


@pytest.mark.parametrize("words", [["history", "CHIP"], ["devices"], ["decisions"]])
def test_query_of_a_database_loads_neither_server_nor_simulator_nor_borders(
    tmp_path: Path, story: Story, words: list[str]
) -> None:
    words = [story.diverted if word == "CHIP" else word for word in words]
    heavy = f"alembic,{SERVER},{SIMULATOR}"
    found = loaded(tmp_path, heavy, *words, "--database", story.database)
    assert found == "0 loaded:"


def test_what_is_loaded_is_seen(tmp_path: Path, story: Story) -> None:
    heavy = "sqlalchemy,rich,fastapi"
    assert loaded(tmp_path, heavy, "devices", "--database", story.database) == (
        "0 loaded: rich sqlalchemy"
    )


@pytest.mark.parametrize("words", [["--help"], ["history", "--help"], ["--version"]])
def test_help_loads_nothing_that_takes_time(tmp_path: Path, words: list[str]) -> None:
    heavy = "sqlalchemy,sqlmodel,fastapi,httpx,numpy,cryptography,nacl,cbor2"
    assert loaded(tmp_path, heavy, *words) == "0 loaded:"


def test_version_is_one_line(program: Program) -> None:
    done = program("--version")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("chip-passport ")


@pytest.mark.parametrize("words", [[], ["fleet"]])
def test_nothing_to_do_shows_the_help_and_exits_2(program: Program, words: list[str]) -> None:
    done = program(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: chip-passport")


def test_misspelt_command_is_one_line_with_a_suggestion(program: Program) -> None:
    assert "Did you mean 'history'?" in program("histroy").complaint


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (IntegrityError("entry 7 is gone"), "the ledger contradicts itself: entry 7 is gone"),
        (Refused(Reason.DUPLICATE, "seen"), "seen (duplicate)"),
        (PermissionError(13, "Permission denied", "x.db"), "x.db: Permission denied"),
        (ZeroDivisionError("over\nnothing"), "ZeroDivisionError: over nothing (this is a fault"),
    ],
)
def test_every_exception_is_one_line(
    program: Program, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fail(_words: list[str]) -> int:
        raise error

    monkeypatch.setattr(program_module, "_invoke", fail)
    assert program("check").complaint.startswith(said)
    with pytest.raises(type(error)):
        run(["--debug", "check"])


def test_interrupt_is_one_word_and_130(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(program_module, "_invoke", interrupt)
    done = program("check")
    assert (done.code, done.out, done.err) == (130, "", "chip-passport: interrupted\n")


@pytest.mark.parametrize("form", [["--json"], []])
def test_reader_that_goes_away_is_no_error(story: Story, tmp_path: Path, form: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "history", story.stays, "--database", str(story.database), *form],
        cwd=tmp_path,
        env=environment(),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_colours_only_on_a_terminal_and_not_with_no_color(story: Story, tmp_path: Path) -> None:
    words = [*COMMAND, "decisions", "--database", str(story.database)]
    seen = {}
    for name, changes in (("terminal", {}), ("no colours", {"NO_COLOR": "1"})):
        leader, follower = os.openpty()
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env=environment(TERM="xterm", **changes),
            stdout=follower,
            check=True,
        )
        os.close(follower)
        seen[name] = os.read(leader, 100_000)
        os.close(leader)
        assert done.returncode == 0
    assert b"\x1b[1;31m" in seen["terminal"]
    assert b"\x1b[1;31m" not in seen["no colours"]
