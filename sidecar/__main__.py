"""`livery-proxy`: the proxy, and checks of what it reads."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
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
    if _EXPLAINING.intersection(given) or not any(item.startswith("--role") for item in given):
        return _explain(given)
    # As a container's first process it would be deaf to SIGTERM until it serves: a Job that ends
    # while its proxy still imports would wait for the grace period.
    signal.signal(signal.SIGTERM, _leave)
    return _serve_pod(given, os.environ)


def _leave(number: int, frame: object) -> None:
    os._exit(0)


def _explain(given: Sequence[str]) -> int:
    from sidecar.errors import SettingsError
    from sidecar.settings import build_parser

    try:
        build_parser().parse_args(given)  # exits by itself for help and version
    except SettingsError as error:
        print(f"livery-proxy: {error}; see livery-proxy --help", file=sys.stderr)
    return 2


def _serve_pod(given: Sequence[str], environ: Mapping[str, str]) -> int:
    import asyncio

    from sidecar.logs import configure_logs
    from sidecar.process import keep_freed_memory
    from sidecar.roles.pod import PodRole
    from sidecar.settings import parse_pod_settings

    keep_freed_memory()
    settings = parse_pod_settings(given, environ)
    configure_logs(settings.log_level)
    asyncio.run(_run(PodRole(settings)))
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
