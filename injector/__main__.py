"""`livery`: the injector and the commands around it."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches

from webhook_certs.errors import CertificateError

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

livery COMMAND --help shows a command's own examples.
"""
_COMMANDS = ("demo", "inject", "explain", "relabel", "certs", "targets", "doctor", "serve")
_NAMES = (*_COMMANDS, "uninject")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `livery`; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["serve"]:
        # As a container's first process it would be deaf to it until it serves.
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    parser = build_parser(given)
    if not given:
        parser.print_help(sys.stderr)
        return 2
    if given[0] not in _NAMES and (meant := get_close_matches(given[0], _NAMES, 1)):
        return _fail(SettingsError(f"there is no command {given[0]}; did you mean {meant[0]}?"), 2)
    parsed = parser.parse_args(given)
    try:
        code: int = parsed.run(parsed)
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
    parser = argparse.ArgumentParser(
        prog="livery",
        description="Livery: every metric wears its team's colours.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"livery {VERSION}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    asked = next((item for item in given if not item.startswith("-")), "")
    module = "inject" if asked == "uninject" else asked
    for name in _COMMANDS:
        # Help lists all; a command itself does not pay for the others' imports.
        if module not in _COMMANDS or name == module:
            importlib.import_module(f"injector.commands.{name}").add_parsers(commands)
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
