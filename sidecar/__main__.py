"""Entry point of `livery-proxy`: runs a role, `check` or `hash-password`."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    import asyncio

    from sidecar.process.ports import Ports

ROLES = {
    "pod": "beside one workload: scrapes it, adds labels, filters, serves the result",
    "node": "in front of a node's kubelet: adds namespace labels to its metrics",
    "aggregate": "one endpoint for many pods",
    "gateway": "Prometheus' API for tenants",
}
"""The proxy's roles. Each is a package in `sidecar.roles` and imports nothing from the others."""
_SELECTOR = "POD_LABEL_SELECTOR"
_EXPLAINING = frozenset(["--help", "-h", "--version"])
EXAMPLES = """examples:
  livery-proxy --role pod --target http://127.0.0.1:8080/metrics
      serve the application's metrics unchanged on port 16090
  livery-proxy --role aggregate --pod-label-selector app=web
      serve the metrics of all matching pods as one exposition on port 15090
  livery-proxy --role node --help
      show the arguments and examples of one role
  livery-proxy check exposition < metrics.txt
      parse metrics as Prometheus does and print each sample as JSON
  livery-proxy check policy policy.yaml
      check whether a policy is valid
  livery-proxy hash-password
      hash a password for a gateway's users file

environment:
  LIVERY_LISTEN_ADDRESS   address to listen on, such as 127.0.0.1; all addresses by default
"""


class Role(Protocol):
    """A proxy in one of its roles."""

    ports: "Ports"

    async def run(self, stop: "asyncio.Event") -> int | None:
        """Serve until `stop` is set; returns the exit code, None for 0."""


class _Settings(Protocol):
    """Interface of a role's module `settings`."""

    def build_parser(self) -> argparse.ArgumentParser: ...


class _Start(Protocol):
    """Interface of a role's module `role`."""

    def start(self, arguments: Sequence[str], environ: Mapping[str, str]) -> Role: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `livery-proxy`; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Each branch imports only what it needs, to keep the memory of a pod's proxy small.
    if given[:1] == ["check"]:
        from sidecar.commands.check import main as check

        return check(given[1:])
    if given[:1] == ["hash-password"]:
        from sidecar.commands.hash_password import main as hash_password

        return hash_password(given[1:])
    role = find_role(given)
    if role is None and given and not given[0].startswith("-"):
        return _refuse_command(given[0])
    if role is None and _SELECTOR in os.environ and not _EXPLAINING.intersection(given):
        # metrics-k8s-proxy is started like this: its manifests need only another image.
        role = "aggregate"
        given = ["--role", role, "--compatible-with", "metrics-k8s-proxy", *given]
    if role is None or (role not in ROLES and _EXPLAINING.intersection(given)):
        return _explain(given)
    if role not in ROLES:
        return _refuse(role)
    if _EXPLAINING.intersection(given):
        return _explain_role(role, given)
    # PID 1 ignores SIGTERM unless it has a handler. Without this one, a Job that ends while its
    # proxy is still importing would wait for the whole grace period.
    signal.signal(signal.SIGTERM, _leave)
    return _serve(role, given, os.environ)


def find_role(arguments: Sequence[str]) -> str | None:
    """Return the value of `--role`, or None if it is not given."""
    for at, argument in enumerate(arguments):
        if argument == "--role":
            return arguments[at + 1] if at + 1 < len(arguments) else ""
        if argument.startswith("--role="):
            return argument.removeprefix("--role=")
    return None


def _leave(number: int, frame: object) -> None:
    os._exit(0)


def _explain(given: Sequence[str]) -> int:
    from sidecar import VERSION
    from sidecar.process.help_format import HelpFormatter

    width = max(map(len, ROLES))
    roles = "\n".join(f"  {name:{width}}  {text}" for name, text in ROLES.items())
    parser = argparse.ArgumentParser(
        prog="livery-proxy",
        usage="livery-proxy --role ROLE [--help] ...\n       livery-proxy check KIND ...\n       "
        "livery-proxy hash-password",
        description="Livery's proxy: labels metrics on their way from workloads to Prometheus.",
        epilog=f"roles:\n{roles}\n\n{EXAMPLES}",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"livery-proxy {VERSION}")
    parser.add_argument("--role", choices=list(ROLES), help="what this proxy does")
    if _EXPLAINING.intersection(given):
        parser.parse_args(given)  # exits by itself
    text = f"--role is missing; choose one of {', '.join(ROLES)}; see livery-proxy --help"
    print(f"livery-proxy: {text}", file=sys.stderr)
    return 2


def _explain_role(role: str, given: Sequence[str]) -> int:
    from sidecar.errors import SettingsError

    settings = cast("_Settings", importlib.import_module(f"sidecar.roles.{role}.settings"))
    try:
        settings.build_parser().parse_args(given)  # exits by itself
    except SettingsError as error:
        print(f"livery-proxy: {error}; see livery-proxy --role {role} --help", file=sys.stderr)
    return 2


def _refuse_command(name: str) -> int:
    from difflib import get_close_matches

    meant = get_close_matches(name, ("check", "hash-password"), 1)
    proposed = f"did you mean {meant[0]}?" if meant else "there are check and hash-password."
    text = f"{name[:40]!r} is not a command; {proposed} See livery-proxy --help"
    print(f"livery-proxy: {text}", file=sys.stderr)
    return 2


def _refuse(role: str) -> int:
    text = f"--role {role[:40]!r}: not a role; choose one of {', '.join(ROLES)}"
    print(f"livery-proxy: {text}", file=sys.stderr)
    return 2


def _serve(name: str, given: Sequence[str], environ: Mapping[str, str]) -> int:
    import asyncio

    from sidecar.errors import SettingsError
    from sidecar.process.memory import keep_freed_memory
    from sidecar.process.ports import read_host

    module = cast("_Start", importlib.import_module(f"sidecar.roles.{name}.role"))
    try:
        role = module.start(given, environ)
        role.ports.host = read_host(environ)
        keep_freed_memory()  # after the imports, to return the memory they freed first
        return asyncio.run(_run(role)) or 0
    except SettingsError as error:
        print(f"livery-proxy: {error}; see livery-proxy --role {name} --help", file=sys.stderr)
        return 2


async def _run(role: Role) -> int | None:
    import asyncio

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await role.run(stop)


if __name__ == "__main__":
    sys.exit(main())
