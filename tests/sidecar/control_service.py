"""A control service over real TLS that streams scripted lines."""

import asyncio
import json
import time
from urllib.parse import parse_qs, urlsplit

from tests.sidecar.apps import App, http
from tests.sidecar.certificates import authority, server_tls

CA = authority()
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"


def message(kind: str, **fields: object) -> bytes:
    """Return one line of the stream."""
    return json.dumps({"type": kind, **fields}).encode() + b"\n"


class ControlService:
    """A control service that streams scripted lines."""

    def __init__(self, *, names: tuple[str, ...] = ("control",)) -> None:
        self.app = App(self._answer, tls=server_tls(CA, *names))
        self.greeting = b""
        self.reports: list[float] = []
        """When each report arrived."""
        self.report: dict[str, object] = {}
        """The last report."""
        self.streams: list[asyncio.StreamWriter] = []

    def say(self, message: bytes) -> None:
        self.streams[-1].write(message)

    def versions(self) -> list[str]:
        queries = [urlsplit(head.split(" ")[1]).query for head in self.app.requests]
        return [parse_qs(query, keep_blank_values=True)["version"][0] for query in queries if query]

    async def _answer(self, writer: asyncio.StreamWriter) -> None:
        if self.app.requests[-1].startswith("POST /v1/report "):
            self.report = json.loads(await self._read_body(writer))
            self.reports.append(time.monotonic())
            writer.write(http(b"", status="204 No Content"))
            return
        self.streams.append(writer)
        writer.write(_STREAM + self.greeting)
        while not writer.is_closing():
            await asyncio.sleep(0.01)

    async def _read_body(self, writer: asyncio.StreamWriter) -> bytes:
        size = self.app.requests[-1].lower().partition("content-length: ")[2].split("\r\n")[0]
        return await self.app.readers[writer].readexactly(int(size or 0))
