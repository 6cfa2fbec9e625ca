"""`livery-proxy`: the proxy, and checks of what it reads."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio


class Role(Protocol):
    """One of the proxy's roles."""

    async def run(self, stop: "asyncio.Event") -> None:
        """Serve until told to stop."""


_EXPLAINING = frozenset(["--help", "-h", "--version"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `livery-proxy`; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Each branch imports only its own: what a pod's proxy does not use, no pod pays for.
    if given[:1] == ["check"]:
        from sidecar.commands.check import main as check

        return check(given[1:])
    is_node = _is_node(given)
    if _EXPLAINING.intersection(given) or not any(item.startswith("--role") for item in given):
        return _explain(given, is_node=is_node)
    # As a container's first process it would be deaf to SIGTERM until it serves: a Job that ends
    # while its proxy still imports would wait for the grace period.
    signal.signal(signal.SIGTERM, _leave)
    return _serve_node(given, os.environ) if is_node else _serve_pod(given, os.environ)


def _is_node(given: Sequence[str]) -> bool:
    return "--role=node" in given or ("--role", "node") in pairwise(given)


def _leave(number: int, frame: object) -> None:
    os._exit(0)


def _explain(given: Sequence[str], *, is_node: bool) -> int:
    from sidecar.errors import SettingsError

    if is_node:
        from sidecar.roles.node.settings import build_node_parser as build
    else:
        from sidecar.roles.pod.settings import build_parser as build

    try:
        build().parse_args(given)  # exits by itself for help and version
    except SettingsError as error:
        print(f"livery-proxy: {error}; see livery-proxy --help", file=sys.stderr)
    return 2


def _serve_pod(given: Sequence[str], environ: Mapping[str, str]) -> int:
    import asyncio

    from sidecar.process.logs import configure_logs
    from sidecar.process.memory import keep_freed_memory
    from sidecar.roles.pod.role import PodRole
    from sidecar.roles.pod.settings import parse_pod_settings

    keep_freed_memory()
    settings = parse_pod_settings(given, environ)
    configure_logs(settings.log_level)
    asyncio.run(_run(PodRole(settings)))
    return 0


def _serve_node(given: Sequence[str], environ: Mapping[str, str]) -> int:
    import asyncio

    from sidecar.errors import SettingsError
    from sidecar.process.logs import configure_logs
    from sidecar.process.memory import keep_freed_memory
    from sidecar.roles.node.role import NodeRole
    from sidecar.roles.node.settings import parse_node_settings

    keep_freed_memory()
    try:
        settings = parse_node_settings(given, environ)
        configure_logs(settings.log_level)
        role = NodeRole(settings)
    except SettingsError as error:
        print(f"livery-proxy: {error}; see livery-proxy --role node --help", file=sys.stderr)
        return 2
    asyncio.run(_run(role))
    return 0


async def _run(role: "Role") -> None:
    import asyncio

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await role.run(stop)


if __name__ == "__main__":
    sys.exit(main())
