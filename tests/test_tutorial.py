"""The tutorial word by word: its commands are run, and what it shows is what they print."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/tutorial.md")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CUT = "…"
RUN = ("chip-passport", "cp ", "python3", ".venv/bin/python")


def steps(page: str) -> list[tuple[list[str], list[str]]]:
    """Commands of each console block, and the lines shown below it."""
    found: list[tuple[list[str], list[str]]] = []
    for language, text in _BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        if language == "console":
            found.append((_commands(text), []))
        elif language == "text" and found:
            found[-1][1].extend(text.splitlines())
    return found


def _commands(text: str) -> list[str]:
    """What follows each prompt, with the lines of a here-document."""
    return [part.rstrip("\n") for part in re.split(r"^\$ ", text, flags=re.MULTILINE) if part]


def run(command: str, folder: Path) -> str:
    """Standard output of one command of the page in a shell, whatever its exit code."""
    program = f"{sys.executable} -m api.cli"
    words = command.replace("make demo", f"{program} demo")
    words = re.sub(r"^chip-passport\b", program, words)
    words = re.sub(r"^(python3|\.venv/bin/python)\b", sys.executable, words)
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def plain(text: str) -> str:
    """Without line breaks and runs of blanks: a page may be narrower than a terminal."""
    return re.sub(r"\s+", " ", text)


def pieces(line: str) -> list[str]:
    """The parts of a shown line that were not cut."""
    return [piece.strip() for piece in line.split(_CUT) if piece.strip()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("newcomer")


@pytest.mark.slow
def test_the_tutorial_shows_what_its_commands_print(folder: Path) -> None:
    shutil.rmtree(folder / "chip-passport-demo", ignore_errors=True)
    (folder / "docs").symlink_to(ROOT / "docs")
    ran = 0
    for commands, shown in steps("docs/tutorial.md"):
        if not any(command.startswith(RUN) for command in commands):
            continue
        said = "".join(run(command, folder) for command in commands)
        ran += len(commands)
        for line in shown:
            for piece in pieces(line):
                assert plain(piece) in plain(said), (commands, line)
    assert ran >= 10


def test_readme_and_tutorial_show_the_same_results() -> None:
    """What the README shows of the demo stands in the tutorial, which is run."""
    (_, readme), *_ = steps("README.md")
    tutorial = [line for _, shown in steps("docs/tutorial.md") for line in shown]
    for line in readme:
        assert line in tutorial or line == _CUT, line
