"""The client's access token: where it goes, and where it never goes."""

import httpx
import pytest

from api.client import AnswerInvalid, Client, ClientError, RequestRefused

TOKEN = "cpt_01020304_" + "A" * 43
LOCAL = "http://127.0.0.1:1"


class Seen:
    """A server that notes the requests and answers all alike."""

    def __init__(self, answer: httpx.Response) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer

    def client(self, url: str = LOCAL, token: str | None = TOKEN, **arguments: bool) -> Client:
        transport = httpx.MockTransport(self)
        return Client(url, transport=transport, token=token, **arguments)  # type: ignore[arg-type]

    @property
    def sent(self) -> list[str | None]:
        return [request.headers.get("authorization") for request in self.requests]


def test_token_goes_with_questions_and_with_nothing_else() -> None:
    answer = {"items": [], "next": None, "status": "accepted"}
    seen = Seen(httpx.Response(200, json=answer))
    with seen.client() as client:
        list(client.devices())
        client.device(b"\1" * 17)
        client.bundle(b"\1" * 17)
        asked = len(seen.requests)
        client.post_heartbeats([b"x"])
        client.set_clock(5)
        client.checkpoint()
        client.tile("0/000")
        client.ready()
    assert seen.sent == [f"Bearer {TOKEN}"] * asked + [None] * (len(seen.sent) - asked)
    assert asked == 3
    assert not any(TOKEN in str(request.url) for request in seen.requests)


def test_without_a_token_there_is_no_header() -> None:
    seen = Seen(httpx.Response(200, json={}))
    with seen.client(token=None) as client:
        client.ledger()
    assert seen.sent == [None]


def test_token_is_not_sent_on_to_where_an_answer_points() -> None:
    elsewhere = httpx.Response(302, headers={"Location": "https://elsewhere.example/v1/ledger"})
    seen = Seen(elsewhere)
    with seen.client() as client, pytest.raises(AnswerInvalid):
        client.ledger()
    assert [request.url.host for request in seen.requests] == ["127.0.0.1"]


@pytest.mark.parametrize("url", ["http://ledger.example", "http://192.0.2.1:8470"])
def test_token_is_not_sent_in_plain_text_to_another_machine(url: str) -> None:
    seen = Seen(httpx.Response(200, json={}))
    with pytest.raises(ClientError, match="use https://") as error:
        seen.client(url)
    assert TOKEN not in str(error.value)
    seen.client(url, token=None).ledger()
    seen.client(url, allow_plaintext=True).ledger()
    assert seen.sent == [None, f"Bearer {TOKEN}"]


@pytest.mark.parametrize(
    "url", [LOCAL, "http://localhost", "http://[::1]:8470", "https://ledger.example"]
)
def test_token_is_sent_to_this_machine_and_over_tls(url: str) -> None:
    seen = Seen(httpx.Response(200, json={}))
    seen.client(url).ledger()
    assert seen.sent == [f"Bearer {TOKEN}"]


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "é", "a\n", "Bearer " + TOKEN])
def test_text_that_no_header_can_carry_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(ClientError, match="no access token") as error:
        Client(LOCAL, token=token)
    assert not token or token not in str(error.value)


def test_name_and_password_in_the_address_would_take_the_token_s_place() -> None:
    with pytest.raises(ClientError, match="exclude each other"):
        Client("http://user:word@127.0.0.1", token=TOKEN)


def test_no_error_and_no_text_of_the_client_shows_the_token() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("broken", request=request)

    problem = {"reason": "token-invalid", "detail": "no such access token is known here"}
    headers = {"Content-Type": "application/problem+json"}
    refusing = Seen(httpx.Response(401, json=problem, headers=headers)).client()
    with pytest.raises(RequestRefused) as error:
        refusing.ledger()
    assert error.value.reason == "token-invalid"
    unreachable = Client(LOCAL, transport=httpx.MockTransport(broken), token=TOKEN, attempts=1)
    with pytest.raises(ClientError) as other:
        unreachable.ledger()
    for shown in (error.value, other.value, refusing, unreachable, refusing._http):
        assert TOKEN not in f"{shown} {shown!r}"
