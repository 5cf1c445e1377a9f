"""``token``, ``--token-file`` and ``serve --access``."""

import contextlib
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.cli.options import TOKEN_VARIABLE
from api.embedded import ServerThread
from api.settings import ServiceSettings
from tests.cli.harness import Program, Story
from tests.cli.test_serve import serving
from tests.service.harness import open_node

TOKEN = re.compile(r"cpt_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")


@pytest.fixture
def ledger(tmp_path: Path, story: Story) -> Path:
    """A copy of the story's ledger, its keys beside it."""
    shutil.copytree(story.database.parent / "keys", tmp_path / "keys")
    shutil.copyfile(story.database, tmp_path / "ledger.db")
    return tmp_path / "ledger.db"


@pytest.fixture
def service(ledger: Path) -> Iterator[str]:
    """Its address, served to known readers only."""
    node = open_node(ledger.parent)
    try:
        with ServerThread(node, settings=ServiceSettings(access="tokens")) as running:
            yield running.url
    finally:
        node.close()


def token_file(program: Program, folder: Path, *words: str) -> Path:
    """A file with a new token."""
    done = program("token", "create", *words)
    assert done.code == 0, done.err
    path = folder / f"{len(list(folder.glob('*.token')))}.token"
    path.touch(mode=0o600)
    path.write_text(done.out)
    return path


def test_token_is_all_of_standard_output_and_is_shown_once(program: Program, ledger: Path) -> None:
    done = program("token", "create", "--role", "holder", "--party", "holder", "--label", "for Ada")
    assert done.code == 0
    token = done.out.strip()
    assert TOKEN.fullmatch(token)
    assert token not in done.err
    ident, secret = token[4:12], token[13:]
    assert f"token {ident}, holder of holder, good until " in done.err
    listed = program("token", "list")
    assert listed.out.splitlines()[0].split() == [
        *("id", "role", "party", "created", "(UTC)", "expires", "(UTC)", "state", "label"),
    ]
    assert ident in listed.out
    assert "for Ada" in listed.out
    assert secret not in listed.out + program("token", "list", "--json").out
    stored = b"".join(path.read_bytes() for path in ledger.parent.glob("ledger.db*"))
    assert ident.encode() in stored
    assert secret.encode() not in stored


def test_json_has_everything_and_lifetimes_are_days(program: Program, ledger: Path) -> None:
    day_ms = 86_400_000
    made = program("token", "create", "--role", "officer", "--json").json
    assert TOKEN.fullmatch(made.pop("token"))
    assert made["expires_ms"] - made["created_ms"] == 90 * day_ms
    assert (made["role"], made["party"], made["state"]) == ("officer", None, "active")
    short = program("token", "create", "--role", "auditor", "--days", "1", "--json").json
    assert short["expires_ms"] - short["created_ms"] == day_ms
    endless = program("token", "create", "--role", "auditor", "--no-expiry", "--json").json
    assert endless["expires_ms"] is None
    for token in (short, endless):
        token.pop("token")
    assert program("token", "list", "--json").json == {"items": [made, short, endless]}
    assert "never" in program("token", "list").out


def test_list_of_none_says_so(program: Program, ledger: Path) -> None:
    assert program("token", "list").out == "no access token was made\n"
    assert program("token", "list", "--json").json == {"items": []}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "--role", "king"], "Invalid value for '--role'"),
        (["create"], "Missing option '--role'"),
        (["create", "--role", "holder"], "name it with --party"),
        (["create", "--role", "officer", "--party", "holder"], "leave --party out"),
        (["create", "--role", "holder", "--party", "nobody"], "no party 'nobody' is registered"),
        (["create", "--role", "officer", "--days", "0"], "Invalid value for '--days'"),
        (["create", "--role", "officer", "--days", "5", "--no-expiry"], "exclude each other"),
        (["create", "--role", "officer", "--label", "x" * 65], "at most 64 characters"),
        (["create", "--role", "officer", "--database", "none.db"], "there is no ledger at none.db"),
        (["revoke", "00000000"], "there is no token 00000000"),
        (["revoke", "cpt_00000000_x"], "the 8 hex digits behind cpt_"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    program: Program, ledger: Path, words: list[str], said: str
) -> None:
    assert said in program("token", *words).complaint
    assert program("token", "list", "--json").json == {"items": []}


def test_commands_work_beside_a_server_and_count_at_once(
    program: Program, tmp_path: Path, ledger: Path
) -> None:
    keys = str(ledger.parent / "keys")
    words = ("--clock", "simulated", "--access", "tokens", "--keys", keys)
    with serving(tmp_path, *words) as (process, url):
        file = token_file(program, tmp_path, "--role", "officer")
        headers = {"Authorization": f"Bearer {file.read_text().strip()}"}
        assert httpx.get(f"{url}/v1/devices").status_code == 401
        assert len(httpx.get(f"{url}/v1/devices", headers=headers).json()["items"]) == 3
        done = program("devices", "--url", url, "--token-file", file, "--json")
        assert len(done.json["items"]) == 3
        ident = file.read_text()[4:12]
        assert program("token", "revoke", ident).code == 0
        said = httpx.get(f"{url}/v1/devices", headers=headers)
        assert (said.status_code, said.json()["reason"]) == (401, "token-invalid")
        assert "is revoked" in program("devices", "--url", url, "--token-file", file).complaint
        # The server goes on writing to the file that others have written to.
        now_ms = httpx.get(f"{url}/v1/clock").json()["now_ms"] + 3_600_000
        assert httpx.post(f"{url}/v1/clock", json={"now_ms": now_ms}).status_code == 200
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert headers["Authorization"][-43:] not in errors
    assert program("check", "--database", ledger).code == 0


# -- asking a service --------------------------------------------------------------------------


def test_every_question_takes_a_token(
    program: Program, tmp_path: Path, service: str, story: Story
) -> None:
    file = token_file(program, tmp_path, "--role", "holder", "--party", "holder")
    asked = ("--url", service, "--token-file", file)
    assert len(program("devices", "--json", *asked).json["items"]) == 3
    assert program("history", story.diverted[:12], "--json", *asked).json["items"]
    assert program("decisions", "--ueid", story.diverted[:12], "--json", *asked).json["items"]
    assert program("bundle", story.diverted[:12], "-o", "x", *asked).code == 0


def test_token_comes_from_the_environment_too(
    program: Program, tmp_path: Path, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = token_file(program, tmp_path, "--role", "auditor").read_text()
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    assert len(program("devices", "--url", service, "--json").json["items"]) == 3
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    said = program("devices", "--url", service).complaint
    assert said.endswith("give it an access token with --token-file, or in CHIP_PASSPORT_TOKEN")


def test_redacted_bundle_needs_no_token_and_another_s_chip_is_explained(
    program: Program, tmp_path: Path, service: str, story: Story
) -> None:
    assert program("bundle", story.stays, "-o", "x", "--redacted", "--url", service).code == 0
    assert b"Frankfurt" not in (tmp_path / "x").read_bytes()
    assert "--token-file" in program("bundle", story.stays, "-o", "x", "--url", service).complaint
    file = token_file(program, tmp_path, "--role", "holder", "--party", "reseller")
    said = program("history", story.stays, "--url", service, "--token-file", file).complaint
    assert said.startswith("token-insufficient: reseller does not hold this chip; ask")


def test_database_needs_no_token(program: Program, ledger: Path, tmp_path: Path) -> None:
    assert program("devices", "--database", ledger).code == 0
    file = token_file(program, tmp_path, "--role", "officer")
    said = program("devices", "--database", ledger, "--token-file", file).complaint
    assert "needs no token" in said


def test_token_file_is_for_a_service_even_where_a_database_is_set(
    program: Program, ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = token_file(program, tmp_path, "--role", "officer")
    monkeypatch.setenv("CHIP_PASSPORT_DATABASE", str(ledger))
    monkeypatch.setenv("CHIP_PASSPORT_URL", "http://127.0.0.1:9")
    assert "127.0.0.1:9" in program("devices", "--token-file", file).complaint


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (None, 0o600, "cannot read t.token"),
        (b"cpt_", 0o644, "t.token is open to others; run: chmod 600 t.token"),
        (b" \n", 0o600, "t.token holds no access token"),
        (b"\xff", 0o600, "t.token holds no access token"),
        (b"two words", 0o600, "that is no access token"),
    ],
)
def test_token_file_that_cannot_be_used_is_one_line(
    program: Program, tmp_path: Path, content: bytes | None, mode: int, said: str
) -> None:
    if content is not None:
        (tmp_path / "t.token").write_bytes(content)
        (tmp_path / "t.token").chmod(mode)
    done = program("devices", "--url", "http://127.0.0.1:9", "--token-file", "t.token")
    assert said in done.complaint


@pytest.mark.parametrize("words", [["--token", "cpt_secret"], ["--token=cpt_secret"]])
@pytest.mark.parametrize("command", ["devices", "history", "fleet"])
def test_token_on_the_command_line_is_refused_and_not_repeated(
    program: Program, command: str, words: list[str]
) -> None:
    said = program(command, *words).complaint
    assert "--token-file" in said
    assert "secret" not in said


def test_token_is_not_sent_in_plain_text_to_another_machine(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "cpt_00000000_secret")
    said = program("devices", "--url", "http://ledger.example").complaint
    assert "use https://" in said
    assert "secret" not in said


# -- serve -------------------------------------------------------------------------------------


@contextlib.contextmanager
def said_by_serve(folder: Path, *words: str) -> Iterator[tuple[str, str]]:
    """The line about access, and the address."""
    with serving(folder, *words) as (process, url):
        assert process.stdout is not None
        yield process.stdout.readline(), url


@pytest.mark.parametrize(
    ("words", "access"),
    [
        ((), "tokens"),
        (("--clock", "simulated"), "open"),
        (("--access", "open"), "open"),
        (("--clock", "simulated", "--access", "tokens"), "tokens"),
    ],
)
def test_serve_says_who_may_read(tmp_path: Path, words: tuple[str, ...], access: str) -> None:
    with said_by_serve(tmp_path, *words) as (line, url):
        assert line.startswith(f"access: {access}, ")
        assert ("--access tokens" if access == "open" else "--access open") in line
        status = httpx.get(f"{url}/v1/devices").status_code
        bad = httpx.get(f"{url}/v1/devices", headers={"Authorization": "Bearer x"}).status_code
    assert (status, bad) == (200 if access == "open" else 401, 401)


@pytest.mark.parametrize(
    ("words", "variable", "access"),
    [
        (("--clock", "simulated"), "tokens", "tokens"),
        ((), "open", "open"),
        (("--access", "tokens"), "open", "tokens"),
    ],
)
def test_access_comes_from_option_environment_and_clock_in_this_order(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], variable: str, access: str
) -> None:
    from api.cli.serve import Access, ClockKind, _settings

    named = dict(zip(words[::2], words[1::2], strict=True))
    option = Access(named["--access"]) if "--access" in named else None
    monkeypatch.setenv("CHIP_PASSPORT_HTTP_ACCESS", variable)
    found = _settings(option, ClockKind(named.get("--clock", "real")))
    assert found.access == access


def test_made_token_file_of_these_tests_is_the_owner_s_alone(
    program: Program, ledger: Path, tmp_path: Path
) -> None:
    """Or the refusal of open files would not be tested by the others."""
    file = token_file(program, tmp_path, "--role", "officer")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
