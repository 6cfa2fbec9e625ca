"""Clients that try to starve the injector, each kind from its own loopback address.

Their number and run time are bounded: `python -m bench.attackers ADMISSION CONTROL CA SECONDS`.
"""

import asyncio
import contextlib
import itertools
import ssl
import sys
from collections.abc import Awaitable, Callable

from bench.rig import NAME

BODIES = 64
SILENT = 1_500
"""Per port, of two."""
JUNK = 50
UNREAD = 100
_REVIEW = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u",'
_BODIES = (
    _REVIEW + b'"object":' + b"[" * (3 << 20),
    _REVIEW + b'"object":{"a":[' + b"[]," * 200_000 + b"[]]}}}",
    _REVIEW + b'"name":"' + b"x" * ((3 << 20) - 200) + b'"}}',
    b"x" * (8 << 20),
)


class Victim:
    """The attacked injector: its ports and CA."""

    def __init__(self, admission: int, control: int, ca_bundle: str) -> None:
        self.admission, self.control = admission, control
        self._tls = ssl.create_default_context(cafile=ca_bundle)

    async def connect(
        self, port: int, source: str, *, encrypted: bool = True, limit: int = 1 << 16
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(
            "127.0.0.1",
            port,
            ssl=self._tls if encrypted else None,
            server_hostname=NAME if encrypted else None,
            local_addr=(source, 0),
            limit=limit,
        )


async def _send_bodies(victim: Victim, number: int) -> None:
    """Send large bodies: some complete, some without their last byte."""
    body = _BODIES[number % len(_BODIES)]
    reader, writer = await victim.connect(victim.admission, "127.0.0.2")
    head = f"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    try:
        writer.write(head + (body if number % 3 else body[:-1]))
        await asyncio.wait_for(reader.read(1000), 15)
    finally:
        writer.transport.abort()


async def _stay_silent(victim: Victim, number: int) -> None:
    """Connect and send nothing, or a request and then half of a second one."""
    port = (victim.admission, victim.control)[number % 2]
    encrypted = number % 10 == 0
    reader, writer = await victim.connect(port, "127.0.0.3", encrypted=encrypted)
    try:
        if encrypted:
            writer.write(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nGET /mut")
        while await asyncio.wait_for(reader.read(1000), 60):
            pass
    finally:
        writer.transport.abort()


async def _ask_with_junk(victim: Victim, number: int) -> None:
    reader, writer = await victim.connect(victim.control, "127.0.0.4")
    try:
        for turn in itertools.count():
            head = f"GET /v1/policy?role=pod HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {number}"
            writer.write(f"{head}.{turn}.x\r\n\r\n".encode())
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 15)
    finally:
        writer.transport.abort()


async def _read_nothing(victim: Victim, number: int) -> None:
    """Open policy streams with one pod's valid token and read nothing."""
    _, writer = await victim.connect(victim.control, "127.0.0.5", limit=1)
    try:
        writer.write(
            b"GET /v1/policy?role=pod HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token-0\r\n\r\n"
        )
        await asyncio.sleep(5)
    finally:
        writer.transport.abort()


async def _again(attack: Callable[[Victim, int], Awaitable[None]], victim: Victim, n: int) -> None:
    while True:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            await attack(victim, n)
        await asyncio.sleep(0.01)


async def main(admission: int, control: int, ca_bundle: str, seconds: float) -> None:
    victim = Victim(admission, control, ca_bundle)
    kinds = (
        (_send_bodies, BODIES), (_stay_silent, 2 * SILENT), (_ask_with_junk, JUNK),
        (_read_nothing, UNREAD),
    )  # fmt: skip
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(
                *(_again(attack, victim, n) for attack, count in kinds for n in range(count))
            )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])))
