"""`livery-proxy check config`: a prometheus-multi-tenant-proxy's file as values of the chart."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from sidecar.errors import SettingsError
from sidecar.gateway.compatible import CompatibleConfig, read_config

_WIDTH = 46


def check_config(path: Path, out: TextIO, err: TextIO) -> int:
    """Print the values of the chart that do what a file says; 1 where it cannot be read."""
    try:
        config = read_config(path)
    except SettingsError as error:
        print(f"livery-proxy: {error}", file=err)
        return 1
    for line in _lines(config, path):
        print(line, file=out)
    return 0


def _lines(config: CompatibleConfig, path: Path) -> Iterator[str]:
    yield f"# Values of the chart livery for what {path.name} says: helm upgrade … --values -"
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
        yield "# Without an equal:"
    yield from (f"#   {item.key}: {item.value}" for item in others)


def _discovery(config: CompatibleConfig) -> Iterator[str]:
    if not config.discovery:
        yield "    # The file names none: URLs of one Prometheus or of its replicas."
        yield "    static: []"
        return
    yield "    discovery:    # discovery.kubernetes"
    for entry in config.discovery:
        first, *others = (f"{key}: {json.dumps(value)}" for key, value in entry.items())
        yield f"      - {first}"
        yield from (f"        {line}" for line in others)


def _commented(line: str, key: str) -> str:
    return f"{line:{_WIDTH}}  # {key}"
