"""`livery`: the injector and the commands around it."""

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence

from webhook_certs.errors import CertificateError

from injector.commands.parser import SuggestingParser
from injector.errors import DemoError, KubeError, ManifestError, ObjectError, SettingsError
from sidecar import VERSION

EXAMPLES = """examples:
  livery demo --once                     see it work, without a cluster
  livery inject -f deployment.yaml       add the proxy to manifests
  livery uninject -f pod.yaml            take it out again
  livery explain pod web-0 -n shop       why a pod gets a proxy or not
  livery explain query -n shop up        what the gateway asks in place of a tenant's query
  livery relabel -f rules.yaml           try relabel rules
  livery certs check --dir certs         verify the certificates as a client would
  livery targets --url URL --once        the pods of a kubelet as Prometheus targets
  livery doctor                          diagnose an installation, and print the fix
  livery serve --cluster                 run the injector
  livery completion bash                 complete commands and options in a shell

livery COMMAND --help shows a command's own examples.
"""
_COMMANDS = (
    "demo", "inject", "explain", "relabel", "certs", "targets", "doctor", "serve", "completion",
)  # fmt: skip
_MODULES = {"demo": "demo.command"}
"""Modules of commands that are not named like them, within `injector.commands`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `livery`; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["serve"]:
        # As a container's first process it would be deaf to it until it serves.
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # manifests are, whatever the terminal's locale
    parser = build_parser(given)
    if not given:
        parser.print_help(sys.stderr)
        return 2
    parsed = parser.parse_args(given)
    try:
        code: int = parsed.run(parsed)
    except KeyboardInterrupt:
        return 130  # as a shell reports a command that Ctrl-C ended
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough.
        sys.stderr.close()
        return 0
    except SettingsError as error:
        return _fail(error, 2)
    except KubeError as error:
        return _fail_at_api_server(error)
    except (DemoError, ManifestError, ObjectError, CertificateError, OSError) as error:
        return _fail(error, 1)
    return code


def build_parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Describe the command line; imports only the command that is asked for."""
    parser = SuggestingParser(
        prog="livery",
        description="Livery: every metric wears its team's colours.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"livery {VERSION}")
    parser.set_defaults(root=parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    asked = next((item for item in given if not item.startswith("-")), "")
    module = "inject" if asked == "uninject" else asked
    for name in _COMMANDS:
        # Help lists all; a command itself does not pay for the others' imports.
        if module not in _COMMANDS or module == "completion" or name == module:
            module_name = f"injector.commands.{_MODULES.get(name, name)}"
            importlib.import_module(module_name).add_parsers(commands)
    return parser


def _fail_at_api_server(error: KubeError) -> int:
    if error.status == 0:
        return _fail(KubeError(0, f"the API server cannot be reached: {error.reason}"), 2)
    if error.status == 401:
        reason = f"the API server does not accept your credentials: {error.reason}"
        return _fail(KubeError(401, reason), 2)
    return _fail(error, 1)


def _fail(error: Exception, code: int) -> int:
    print(f"livery: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
