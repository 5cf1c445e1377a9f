"""What the pages tell is so: commands parse, the reference is up to date."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from api.cli.program import app
from api.cli.reference import main, markdown
from api.reference import main as write_reasons
from tests.cli.harness import ROOT, Program

PAGES = (
    *(
        "README.md",
        "docs/tutorial.md",
        "docs/cli.md",
        "docs/http.md",
        "docs/ledger.md",
        "docs/location.md",
    ),
    "docs/access.md",
)
COMMAND = re.compile(r"(?:^\$ |`)(?:\.venv/bin/)?(chip-passport(?: [^`\n]+)?)", re.MULTILINE)


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def commands() -> list[str]:
    found = {command for page in PAGES for command in COMMAND.findall(text(page))}
    return sorted(found)


def parse(words: list[str]) -> None:
    """Parse words as the program does, without running anything; raises a usage error."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("chip-passport", words or ["check"])
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = command.make_context(name, list(rest), parent=context)


@pytest.mark.parametrize("line", commands())
def test_command_on_a_page_parses(line: str) -> None:
    parse(shlex.split(line)[1:])


@pytest.mark.parametrize(
    "line",
    ["chip-passport histroy 01ab", "chip-passport history --bogus", "chip-passport fleet go"],
)
def test_command_that_does_not_parse_is_found(line: str) -> None:
    with pytest.raises(typer.BadParameter.__mro__[1]):  # a usage error
        parse(shlex.split(line)[1:])


def test_commands_are_found_on_the_pages() -> None:
    assert {"chip-passport check", "chip-passport demo"} <= set(commands())
    assert len(commands()) > 10


def test_reference_page_is_what_the_program_says(tmp_path: Path) -> None:
    assert text("docs/cli.md") == markdown(), "docs/cli.md is out of date; run `make docs`"
    assert main([str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == markdown()


@pytest.mark.parametrize("write", [main, write_reasons])
@pytest.mark.parametrize("words", [["--help"], ["one.md", "two.md"]])
def test_reference_program_takes_an_option_for_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert write(words) == 2
    assert not list(tmp_path.iterdir())


def test_reference_page_has_every_help_as_it_is_printed(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = text("docs/cli.md")
    sections = re.findall(r"^## chip-passport ?(.*)$", page, re.MULTILINE)
    assert sections == [
        *("", "demo", "devices", "history", "decisions", "check", "audit"),
        *("bundle", "checkpoint", "proof", "verify", "locate", "serve"),
        *("token", "token create", "token list", "token revoke"),
        *("fleet", "fleet run", "fleet validate", "witness", "witness serve"),
        *("landmark", "landmark serve", "landmark probe", "landmarks", "landmarks check"),
    ]
    for section in sections:
        said = program(*section.split(), "--help").out
        assert "\n".join(line.rstrip() for line in said.splitlines()) in page


def test_tutorial_and_readme_explain_the_five_words_first() -> None:
    readme = text("README.md")
    for word in ("chip", "heartbeat", "ledger", "verdict", "hold"):
        assert f"\n| {word} | " in readme
    assert readme.index("make demo") < readme.index("Five words")
