"""The exposition formats, their media types, and negotiation by the Accept header.

Source: https://prometheus.io/docs/instrumenting/content_negotiation/
"""

from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from sidecar.errors import SettingsError


class Format(StrEnum):
    """The formats that the proxy reads and writes; protobuf is not offered."""

    TEXT = "text"
    """Prometheus text format 0.0.4 (and 1.0.0, which only adds quoted UTF-8 names)."""
    OPENMETRICS = "openmetrics"
    """OpenMetrics text 1.0.0 (and 0.0.1): exemplars, units, `# EOF`."""


class Escaping(StrEnum):
    """How names outside `[a-zA-Z_:][a-zA-Z0-9_:]*` are sent to a client."""

    ALLOW_UTF8 = "allow-utf-8"
    """Quoted, otherwise unchanged."""
    UNDERSCORES = "underscores"
    """Each invalid character becomes `_`; the default."""
    DOTS = "dots"
    """`.` becomes `_dot_`, `_` becomes `__`, each other invalid character becomes `__`."""
    VALUES = "values"
    """`U__` before the name, invalid characters as hexadecimal code points; reversible."""


class Negotiated(NamedTuple):
    """The format and escaping of the answer to one client."""

    fmt: Format
    escaping: Escaping


PROTOCOLS = {
    "PrometheusText0.0.4": Format.TEXT,
    "PrometheusText1.0.0": Format.TEXT,
    "OpenMetricsText0.0.1": Format.OPENMETRICS,
    "OpenMetricsText1.0.0": Format.OPENMETRICS,
}
"""Prometheus's names of scrape protocols."""
TARGET_ACCEPT_TEXT = "text/plain;version=0.0.4;q=1,*/*;q=0.1"
_OPENMETRICS_TYPE = "application/openmetrics-text"
_TEXT_VERSIONS = ("", "0.0.4", "1.0.0")
_OPENMETRICS_VERSIONS = ("", "0.0.1", "1.0.0")


@lru_cache(maxsize=64)
def negotiate(accept: str) -> Negotiated:
    """Choose the format and escaping for a client; text 0.0.4 if nothing fits.

    Args:
        accept: the Accept header, possibly empty; only the first 64 entries are used.
    """
    best, best_quality = Negotiated(Format.TEXT, Escaping.UNDERSCORES), 0.0
    for entry in accept.split(",")[:64]:
        media, parameters = _split(entry)
        fmt = _format_of(media, parameters.get("version", ""))
        quality = _quality(parameters.get("q", "1"))
        # At equal quality the first entry wins.
        if fmt is None or quality <= best_quality:
            continue
        best, best_quality = Negotiated(fmt, _escaping(parameters.get("escaping", ""))), quality
    return best


@lru_cache(maxsize=64)
def target_accept(wanted: Negotiated) -> str:
    """Return the Accept header for a target that serves this client best."""
    escaping = ";escaping=allow-utf-8" if wanted.escaping is Escaping.ALLOW_UTF8 else ""
    if wanted.fmt is Format.TEXT:
        return (
            f"text/plain;version=1.0.0{escaping};q=1,{TARGET_ACCEPT_TEXT}"
            if escaping
            else (TARGET_ACCEPT_TEXT)
        )
    return (
        f"{_OPENMETRICS_TYPE};version=1.0.0{escaping};q=1,"
        f"{_OPENMETRICS_TYPE};version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    )


@lru_cache(maxsize=64)
def content_type(answer: Negotiated) -> str:
    """Return the Content-Type of an answer; Prometheus 3 fails a scrape without one."""
    if answer.fmt is Format.OPENMETRICS:
        base = f"{_OPENMETRICS_TYPE}; version=1.0.0; charset=utf-8"
    elif answer.escaping is Escaping.ALLOW_UTF8:
        base = "text/plain; version=1.0.0; charset=utf-8"
    else:
        base = "text/plain; version=0.0.4; charset=utf-8"
    return f"{base}; escaping={answer.escaping}"


@lru_cache(maxsize=64)
def format_of_content_type(header: str) -> Format | None:
    """Return the format of a target's body; None if it is not supported (protobuf, HTML, …).

    A missing type means text: many small exporters send none.
    """
    media, _ = _split(header)
    if not media:
        return Format.TEXT
    if media == _OPENMETRICS_TYPE:
        return Format.OPENMETRICS
    return Format.TEXT if media == "text/plain" else None


def format_of_body(content_type: str, fallback: Format | None) -> Format | None:
    """Return the format in which to parse a target's body.

    Args:
        content_type: the target's header; empty if it sent none.
        fallback: the format to use if the header names no supported one; if the header is
            missing, it takes precedence over text, as in Prometheus.
    """
    if fallback is not None and not content_type.strip():
        return fallback
    return format_of_content_type(content_type) or fallback


def parse_protocol(name: str) -> Format:
    """Parse the name of a scrape protocol, as in Prometheus's `fallback_scrape_protocol`.

    Raises:
        SettingsError: the name is unknown, or means protobuf.
    """
    fmt = PROTOCOLS.get(name)
    if fmt is None:
        reason = "protobuf is not supported" if name == "PrometheusProto" else "unknown protocol"
        raise SettingsError(f"{name[:40]!r}: {reason}; use one of {', '.join(PROTOCOLS)}")
    return fmt


def _split(entry: str) -> tuple[str, dict[str, str]]:
    media, *rest = entry.split(";")[:16]
    parameters = {}
    for part in rest:
        key, _, value = part.partition("=")
        parameters[key.strip().lower()] = value.strip().strip('"')
    return media.strip().lower(), parameters


def _format_of(media: str, version: str) -> Format | None:
    if media == _OPENMETRICS_TYPE and version in _OPENMETRICS_VERSIONS:
        return Format.OPENMETRICS
    if media in ("text/plain", "text/*", "*/*") and version in _TEXT_VERSIONS:
        return Format.TEXT
    return None


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0


def _escaping(text: str) -> Escaping:
    return Escaping(text) if text in set(Escaping) else Escaping.UNDERSCORES
