"""Settings of the HTTP service; each is an environment variable ``CHIP_PASSPORT_HTTP_<NAME>``."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""A full batch of heartbeats of about 700 bytes is under 3 MiB; the rest is room to grow."""
MAX_BATCH_ITEMS = 4_096
MAX_CLOCK_BYTES = 1_024
MAX_PAGE = 1_000

Access = Literal["open", "tokens"]
Seconds = Annotated[float, Field(gt=0, le=3_600)]


class ServiceSettings(BaseSettings):
    """How much the service takes on at once. Sizes of single messages are fixed by the protocol.

    Listed in ``docs/http.md``; arguments win over the environment.
    """

    model_config = SettingsConfigDict(
        env_prefix="CHIP_PASSPORT_HTTP_",
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
    )

    max_requests: Annotated[int, Field(ge=1, le=65_536)] = 1_024
    """Requests answered at the same time; further ones get 503 ``busy``."""
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 4_096
    """Connections open at the same time, less where the process may not open as many files; for
    a further one the connection that has waited longest for its client is closed."""
    max_buffered_bytes: Annotated[int, Field(ge=MAX_BATCH_BYTES)] = 64 * 1024 * 1024
    """Bytes of request bodies held at the same time; further ones get 503 ``busy``."""
    upload_timeout_s: Seconds = 30.0
    """Longest time that a request body may take to arrive."""
    max_group: Annotated[int, Field(ge=1, le=MAX_BATCH_ITEMS)] = 512
    """Most single posts that share one durable write."""
    batch_workers: Annotated[int, Field(ge=1, le=64)] = 4
    """Threads that process batches."""
    read_workers: Annotated[int, Field(ge=1, le=256)] = 8
    """Threads that answer queries."""
    access: Access = "tokens"
    """``tokens``: locations and holders are shown to whoever has an access token; ``open``: to
    everybody who reaches the service."""
    retry_after_s: Annotated[int, Field(ge=1, le=3_600)] = 1
    """``Retry-After`` of a 503, in seconds."""
