"""What every client of ours does with an address: read it, show a token to it, let go of it."""

import re
from ipaddress import ip_address
from types import TracebackType
from typing import Self

import httpx

from api.client_errors import ClientError

_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class Connected:
    """A client that holds connections until it is closed, at the latest when its block ends."""

    _http: httpx.Client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def parse_url(text: str) -> httpx.URL:
    """The address of a service; ClientError for what is none."""
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError) as error:
        raise ClientError(f"{text!r} is not a URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ClientError(f"{text!r} is not an http:// or https:// URL")
    return url


def is_loopback(host: str) -> bool:
    """Whether it is this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def authorization(url: httpx.URL, token: str, *, allow_plaintext: bool = False) -> dict[str, str]:
    """The header with a token, whose words are never repeated in an error.

    ClientError for what is no token, and where others could read it on the way.
    """
    if _BEARER_TOKEN.fullmatch(token) is None:
        raise ClientError("that is no access token: it is one word, such as cpt_… of a service")
    if url.userinfo:
        raise ClientError("a URL with a user's name and an access token exclude each other")
    if url.scheme != "https" and not allow_plaintext and not is_loopback(url.host):
        raise ClientError(
            f"an access token is not sent to {url.host} over http://, where others can read it; "
            "use https://"
        )
    return {"Authorization": f"Bearer {token}"}
