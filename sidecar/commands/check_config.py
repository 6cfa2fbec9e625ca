"""`livery-proxy check config`: prints a prometheus-multi-tenant-proxy file as chart values."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from sidecar.errors import SettingsError
from sidecar.gateway.compatible import CompatibleConfig, read_config

_WIDTH = 46


def check_config(path: Path, out: TextIO, err: TextIO) -> int:
    """Print the chart values that are equivalent to a file; returns 1 if it cannot be read."""
    try:
        config = read_config(path)
    except SettingsError as error:
        print(f"livery-proxy: {error}", file=err)
        return 1
    for line in _lines(config, path):
        print(line, file=out)
    return 0


def _lines(config: CompatibleConfig, path: Path) -> Iterator[str]:
    yield f"# Values of the livery chart equivalent to {path.name}: helm upgrade … --values -"
    yield "gateway:"
    yield "  enabled: true"
    yield "  backends:"
    yield from _discovery(config)
    shown = {item.chart: item for item in config.equals if item.chart}
    timeout = shown.pop("gateway.backends.timeoutSeconds", None)
    if timeout is not None:
        yield _commented(f"    timeoutSeconds: {timeout.value}", timeout.key)
    count = shown.pop("gateway.limits.maxConcurrentRequests", None)
    if count is not None:
        yield _commented(f"  limits: {{maxConcurrentRequests: {count.value}}}", count.key)
    level = shown.pop("gateway.logLevel", None)
    if level is not None:
        yield _commented(f"  logLevel: {level.value}", level.key)
    others = [item for item in config.equals if not item.chart]
    if others:
        yield "# Without an equivalent:"
    yield from (f"#   {item.key}: {item.value}" for item in others)


def _discovery(config: CompatibleConfig) -> Iterator[str]:
    if not config.discovery:
        yield "    # The file has none: add the URL of one Prometheus, or those of its replicas."
        yield "    static: []"
        return
    yield "    discovery:    # discovery.kubernetes"
    for entry in config.discovery:
        first, *others = (f"{key}: {json.dumps(value)}" for key, value in entry.items())
        yield f"      - {first}"
        yield from (f"        {line}" for line in others)


def _commented(line: str, key: str) -> str:
    return f"{line:{_WIDTH}}  # {key}"
