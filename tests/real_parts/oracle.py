"""Runs Prometheus's own code on expositions, relabel rules, selectors and queries."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.real_parts.go import build

ORACLE_MODULE = Path(__file__).parent.parent / "oracle"
HEX = "hex:"


class Refused(Exception):
    """Prometheus's code refuses the rules or the selector."""


class Parsed(NamedTuple):
    """The entries of an exposition up to the first error, and that error."""

    entries: list[dict[str, Any]]
    error: str | None


class Query(NamedTuple):
    """A query as Prometheus prints its tree, with names in braces; None if it is invalid."""

    printed: str | None
    error: str


class Oracle:
    """A running oracle; not to be shared between threads."""

    def __enter__(self) -> Self:
        """Builds the oracle if need be and starts it."""
        program = build(ORACLE_MODULE, ".", "oracle")
        self._process = subprocess.Popen(
            [str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the oracle."""
        # Data that is still unread or unwritten does not matter any more.
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answers one request."""
        return self.ask_many([request])[0]

    def ask_many(self, requests: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Answers many requests, in order."""
        lines = [json.dumps(request).encode() + b"\n" for request in requests]
        # Both pipes may fill up, so a thread writes while this one reads.
        writer = threading.Thread(target=self._write, args=(lines,), daemon=True)
        writer.start()
        answers = [self._read() for _ in lines]
        writer.join()
        return answers

    def parse(self, body: bytes, fmt: str = "text") -> Parsed:
        """Parses an exposition; the format is "text" or "openmetrics"."""
        encoded = base64.b64encode(body).decode()
        answer = self.ask({"op": "parse", "format": fmt, "body": encoded})
        if "entries" not in answer:
            raise ValueError(answer["error"])
        return Parsed(answer["entries"], answer["error"])

    def http(self, raw: bytes) -> tuple[int, bytes, str] | None:
        """Reads a raw response as Go's client; returns status, body and type; None if refused."""
        answer = self.ask({"op": "http", "body": base64.b64encode(raw).decode()})
        if answer["error"] is not None:
            return None
        return answer["status"], base64.b64decode(answer["body"] or ""), answer["type"]

    def relabel(
        self, rules_yaml: str, labels_list: Iterable[Mapping[str, str]], scheme: str = "utf8"
    ) -> list[dict[str, str] | None]:
        """Applies relabel rules to each of the label sets; None stands for a dropped one."""
        cases = [dict(labels) for labels in labels_list]
        request = {"op": "relabel", "rules": rules_yaml, "cases": cases, "scheme": scheme}
        results: list[dict[str, str] | None] = self._granted(request)["results"]
        return results

    def selector(self, text: str) -> list[tuple[str, str, str]]:
        """Returns the (operator, name, value) of each matcher of a series selector."""
        matchers = self._granted({"op": "selector", "text": text})["matchers"]
        return [(operator, name, value) for operator, name, value in matchers]

    def queries(self, texts: Iterable[str]) -> list[Query]:
        """Parses PromQL with every feature enabled."""
        answers = self.ask_many({"op": "query", "text": text} for text in texts)
        return [Query(answer["query"], answer["error"] or "") for answer in answers]

    def _granted(self, request: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.ask(request)
        if answer["error"] is not None:
            raise Refused(answer["error"])
        return answer

    def _write(self, lines: list[bytes]) -> None:
        assert self._process.stdin is not None
        # If the oracle has ended, reading from it raises an error.
        with contextlib.suppress(OSError):
            for line in lines:
                self._process.stdin.write(line)
            self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise RuntimeError("the oracle has ended unexpectedly")
        answer: dict[str, Any] = json.loads(line)
        return _plain(answer) if HEX.encode() in line else answer


def _plain(value: Any) -> Any:
    # The oracle writes bytes that are not UTF-8 in hexadecimal; here they become surrogates.
    if isinstance(value, str) and value.startswith(HEX):
        return bytes.fromhex(value.removeprefix(HEX)).decode("utf-8", "surrogateescape")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(name): _plain(item) for name, item in value.items()}
    return value
