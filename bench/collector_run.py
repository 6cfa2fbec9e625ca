"""A collector for 100 tenants: `python -m bench.collector_run BACKEND_URL RECEIVER_PORT`."""

import asyncio
import sys

from sidecar.forward.collector import Collector
from sidecar.gateway.backends.backend import BackendSettings
from sidecar.gateway.backends.group import BackendGroup
from sidecar.model.policy.collector import COLLECTOR_KEYS
from sidecar.model.policy.document import DocumentReader, Origin
from sidecar.model.policy.keyed import apply_keys

TENANTS = 100
INTERVAL_SECONDS = 30


def _rule(namespace: str, port: int) -> dict[str, object]:
    access = {"name": "front", "patterns": ["http_requests_.*"], "namespaces": [namespace]}
    where = {"host": "127.0.0.1", "port": port, "path": "/write", "isService": True}
    extra = {"tenant": namespace, "managed_by": "livery"}
    return {
        "access": access,
        "intervalSeconds": INTERVAL_SECONDS,
        "extraLabels": extra,
        "receivers": [where],
    }


async def main() -> None:
    url, port = sys.argv[1], int(sys.argv[2])
    keys: dict[str, object] = {"platform": {"schema": 1, "allowedRanges": ["127.0.0.0/8"]}}
    for number in range(TENANTS):
        namespace = f"team-{number}"
        keys[f"assignment/{namespace}"] = {}
        keys[f"sending/{namespace}/front"] = _rule(namespace, port)
    group = BackendGroup(BackendSettings(), 30)
    group.use([url])
    collector = Collector(group, environ={})
    reader = DocumentReader(Origin.STREAM)
    collector.use(apply_keys(COLLECTOR_KEYS, None, {}, keys, reader=reader).policy)
    print("started", flush=True)
    await collector.run()


if __name__ == "__main__":
    asyncio.run(main())
