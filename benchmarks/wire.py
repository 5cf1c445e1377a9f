"""A lean HTTP/1.1 load: requests made beforehand, a few kept-alive connections, statuses counted.

A load generator on the same cores must cost little, or it measures itself.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from urllib.parse import urlsplit


def post_all(url: str, path: str, media: str, lanes: Sequence[Sequence[bytes]]) -> Counter[int]:
    """POST every body, each lane in order on a connection of its own; counts the statuses."""
    parts = urlsplit(url)
    requests = [[_request(parts.netloc, path, media, body) for body in lane] for lane in lanes]
    return asyncio.run(_run(parts.hostname or "", parts.port or 80, requests))


def _request(host: str, path: str, media: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {media}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _run(host: str, port: int, lanes: list[list[bytes]]) -> Counter[int]:
    statuses: Counter[int] = Counter()

    async def work(lane: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 24)
        for request in lane:
            writer.write(request)
            await writer.drain()
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            await reader.readexactly(int(fields[b"content-length"]))
            statuses[int(head.split(b" ", 2)[1])] += 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*map(work, lanes))
    return statuses
