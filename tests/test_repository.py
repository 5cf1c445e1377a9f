"""What must hold for the repository as a whole: nothing of one machine in it, pages up to date."""

import os
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

from api.reference import main, reasons_markdown
from ledger.errors import REASONS, Reason

ROOT = Path(__file__).resolve().parent.parent
# Folders so common that their names in a file say nothing about the machine it was written on.
COMMON_FOLDERS = {"/", "/tmp", "/home", "/root", "/opt", "/srv", "/usr", "/var", "/mnt", "/app"}
PIN = re.compile(r"[a-z0-9][a-z0-9.-]*==[0-9][A-Za-z0-9.+!]*( ; [A-Za-z0-9_.'\"=!<>() ]+)?")


@cache
def tracked() -> tuple[str, ...]:
    """Names of the files under version control, relative to the root."""
    if shutil.which("git") is None:
        return ()
    # A clone may belong to another account than the one that tests it; reading it is harmless.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return tuple(name for name in done.stdout.split("\0") if name) if not done.returncode else ()


@pytest.fixture
def files() -> tuple[str, ...]:
    if not tracked():
        pytest.skip("not a git work tree")
    return tracked()


def paths_of_this_machine() -> list[str]:
    """The root and the folder above it, unless they have everyday names."""
    return [str(path) for path in (ROOT, ROOT.parent) if str(path) not in COMMON_FOLDERS]


def mentions(data: bytes, path: str) -> bool:
    """Whether ``data`` names ``path`` as a whole absolute path or the start of one."""
    return re.search(rb"(?<![\w./-])" + re.escape(path.encode()) + rb"(?![\w-])", data) is not None


def test_no_lock_file_with_registry_addresses_is_tracked(files: tuple[str, ...]) -> None:
    locks = [name for name in files if Path(name).name in ("uv.lock", "pylock.toml")]
    assert not locks, f"lock files record registry addresses; remove {locks}"


def test_constraints_are_plain_pins_without_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wrong = [line for line in lines if not PIN.fullmatch(line)]
    assert not wrong, f"constraints.txt must hold only name==version lines; found {wrong}"


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://registry.example/simple",
        "-f /somewhere/wheels",
        "cbor2 @ https://registry.example/cbor2.whl",
        "cbor2==6.3.0 --hash=sha256:00",
        "psycopg[binary]==3.3.9",
        "cbor2>=6",
        "# via chip-passport (/somewhere/pyproject.toml)",
    ],
)
def test_constraint_line_that_is_no_plain_pin_is_found(line: str) -> None:
    assert not PIN.fullmatch(line)


def test_every_declared_package_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        declared += extra
    names = {re.split(r"[^A-Za-z0-9._-]", item)[0].lower() for item in declared}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    missing = names - pinned - {"chip-passport"}
    assert not missing, f"run `make constraints`: {sorted(missing)} are not pinned"


def test_no_tracked_file_names_a_path_of_this_machine(files: tuple[str, ...]) -> None:
    found = [
        f"{name}: {path}"
        for name in files
        if (ROOT / name).is_file()
        for path in paths_of_this_machine()
        if mentions((ROOT / name).read_bytes(), path)
    ]
    assert not found, f"machine paths in tracked files: {found}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open /some/where/main/x", True),
        ("'/some/where'", True),
        ("/some/wherever", False),
        ("docs/some/where", False),
        ("../some/where", False),
    ],
)
def test_mention_of_a_path_is_told_from_a_longer_or_relative_one(text: str, expected: bool) -> None:
    assert mentions(text.encode(), "/some/where") is expected


def test_the_border_data_migrations_and_scenarios_are_not_ignored(files: tuple[str, ...]) -> None:
    packaged = [
        path.relative_to(ROOT).as_posix()
        for package in ("ledger", "api", "device_sim")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    ]
    command = ["git", "-c", "safe.directory=*", "check-ignore", "--stdin"]
    done = subprocess.run(
        command, cwd=ROOT, input="\n".join(packaged), capture_output=True, text=True, check=False
    )
    assert not done.stdout, f".gitignore keeps these out of the wheel: {done.stdout.split()}"


def test_ci_script_is_executable() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_every_reason_has_a_title_and_a_remedy() -> None:
    assert set(REASONS) == set(Reason)
    for reason, info in REASONS.items():
        assert info.title, reason
        assert not info.title.endswith("."), f"{reason}: a title is no sentence"
        assert info.remedy.endswith("."), f"{reason}: a remedy is a sentence"


def test_reason_codes_are_lower_case_words_joined_by_hyphens() -> None:
    assert not [code for code in Reason if not re.fullmatch(r"[a-z]+(-[a-z]+)*", code.value)]


def test_reasons_page_lists_every_code_with_title_and_remedy() -> None:
    page = (ROOT / "docs" / "reasons.md").read_text(encoding="utf-8")
    assert page == reasons_markdown(), "docs/reasons.md is out of date; run `make docs`"
    for reason, info in REASONS.items():
        assert f"| `{reason.value}` | {info.title} | {info.remedy} |" in page


def test_reference_program_writes_the_page_to_a_file_or_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "page.md")]) == 0
    assert main([]) == 0
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page == capsys.readouterr().out == reasons_markdown()
