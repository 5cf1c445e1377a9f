"""A relay that holds datagrams back: a longer line, for machines that cannot make one.

``python -m tests.api.delaying HOST TARGET_HOST TARGET_PORT MS`` listens on a free port of HOST,
prints it, and lets every datagram towards the target wait for MS milliseconds.
"""

import asyncio
import sys
from typing import Any


class _Far(asyncio.DatagramProtocol):
    """The relay's side towards the target, one for each sender: answers go back at once."""

    def __init__(self, near: "_Near", sender: Any) -> None:
        self._near, self._sender = near, sender

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._near.transport.sendto(data, self._sender)


class _Near(asyncio.DatagramProtocol):
    """The side towards the chip."""

    transport: asyncio.DatagramTransport

    def __init__(self, target: tuple[str, int], seconds: float) -> None:
        self._target, self._seconds = target, seconds
        self._lines: dict[Any, asyncio.Task[asyncio.DatagramTransport]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self._seconds, self._forward, data, addr)

    def _forward(self, data: bytes, addr: Any) -> None:
        if addr not in self._lines:
            self._lines[addr] = asyncio.ensure_future(self._line(addr))
        self._lines[addr].add_done_callback(lambda line: line.result().sendto(data))

    async def _line(self, addr: Any) -> asyncio.DatagramTransport:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Far(self, addr), remote_addr=self._target
        )
        return transport


async def relay(host: str, target: tuple[str, int], ms: float) -> asyncio.DatagramTransport:
    """Start relaying; the transport knows its port and ends it when closed."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Near(target, ms / 1_000), local_addr=(host, 0)
    )
    return transport


async def _main(host: str, target_host: str, target_port: str, ms: str) -> None:
    transport = await relay(host, (target_host, int(target_port)), float(ms))
    print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
