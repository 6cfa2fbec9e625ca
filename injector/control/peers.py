"""What replicas exchange about their proxies: lines of JSON, streams first, then reports.

The first line lists every stream, so that the reports after it can be cut at a size limit without
a connected proxy appearing to be disconnected.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from injector.control.proxies import Proxy
from injector.control.reports import Pod, read_report, write_report
from injector.errors import ReplicaError

MAX_BYTES = 48 << 20
"""Size limit of one response; the first report beyond it and all later ones are left out."""
LARGE_BYTES = 8 << 10
"""Reports larger than this are sent after all others."""


def write_proxies(proxies: Mapping[Pod, Proxy], now: float) -> Iterator[bytes]:
    """Yield the lines of a response.

    Args:
        proxies: the proxies that this replica knows.
        now: Unix time.
    """
    streams = {"/".join(pod): item.published for pod, item in proxies.items() if item.published}
    line = _line({"streams": streams})
    written = len(line)
    yield line
    for is_large in (False, True):  # so that a few large reports do not displace the others
        for pod, item in proxies.items():
            if item.report is None:
                continue
            age = max(0.0, now - item.report.received_at)
            line = _line({"pod": "/".join(pod), "age": age, "report": write_report(item.report)})
            if (len(line) > LARGE_BYTES) is not is_large:
                continue
            written += len(line)
            if written > MAX_BYTES:
                return
            yield line


def read_proxies(lines: Iterable[bytes], now: Callable[[], float]) -> dict[Pod, Proxy]:
    """Parse another replica's response.

    Args:
        lines: the lines of the response.
        now: returns Unix time.

    Raises:
        ReplicaError: the response is invalid.
    """
    found: dict[Pod, Proxy] = {}
    try:
        for line in lines:
            fields = json.loads(line)
            for name, version in fields.get("streams", {}).items():
                found[_pod(name)] = Proxy(str(version), None)
            if "pod" in fields:
                pod, age = _pod(fields["pod"]), _age(fields["age"])
                report = read_report(fields["report"], now() - age)
                known = found.get(pod, Proxy("", None))
                found[pod] = known._replace(report=report)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReplicaError(f"invalid response: {error!r}"[:200]) from error
    return found


def _age(value: Any) -> float:
    age = float(value)
    if not 0 <= age < math.inf:
        raise ReplicaError(f"invalid response: age {age}")
    return age


def _pod(name: str) -> Pod:
    namespace, _, pod = name.partition("/")
    return namespace, pod


def _line(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="replace") + b"\n"
