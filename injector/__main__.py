"""`livery`: the injector and its command-line tools."""

import argparse
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence

from webhook_certs.errors import CertificateError

from injector.commands.parser import SuggestingParser
from injector.commands.reports import printable
from injector.errors import DemoError, KubeError, ManifestError, ObjectError, SettingsError
from sidecar import VERSION
from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  livery demo --once                     see it work without a cluster
  livery inject -f deployment.yaml       add the proxy to manifests
  livery uninject -f pod.yaml            remove the proxy from manifests
  livery explain pod web-0 -n shop       why a pod gets a proxy, or why not
  livery explain query -n shop up        the query that the gateway sends for a tenant's query
  livery relabel -f rules.yaml           try relabel rules
  livery certs check --dir certs         verify the certificates as a client would
  livery targets --url URL --once        list a kubelet's pods as Prometheus targets
  livery doctor                          diagnose an installation and print the fix
  livery serve --cluster                 run the injector
  livery completion bash                 complete commands and options in a shell

livery COMMAND --help shows examples for that command.
"""
_COMMANDS = (
    "demo", "inject", "explain", "relabel", "certs", "targets", "doctor", "serve", "completion",
)  # fmt: skip
_MODULES = {"demo": "demo.command"}
"""Modules in `injector.commands` of commands whose names differ from the module's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `livery` and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["serve"]:
        # As PID 1 of a container it would ignore SIGTERM until the server handles it.
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")  # manifests are UTF-8, whatever the locale
    parser = build_parser(given)
    if not given:
        parser.print_help(sys.stderr)
        return 2
    return _run(parser.parse_args(given))


def _run(parsed: argparse.Namespace) -> int:
    """Run the command and turn each of its errors into one sentence."""
    try:
        code: int = parsed.run(parsed)
        sys.stdout.flush()  # a full disk is noticed here, not at the interpreter's end
    except KeyboardInterrupt:
        return 130  # as a shell reports a command that Ctrl-C ended
    except BrokenPipeError:
        # The reader, such as `head`, closed the pipe.
        sys.stderr.close()
        return 0
    except SettingsError as error:
        return _fail(error, 2)
    except KubeError as error:
        return _fail_at_api_server(error)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return _fail(OSError(f"{name}{(error.strerror or str(error)).lower()}"), 1)
    except (DemoError, ManifestError, ObjectError, CertificateError) as error:
        return _fail(error, 1)
    return code


def build_parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Build the argument parser; import only the module of the given command."""
    parser = SuggestingParser(
        prog="livery",
        description="Livery adds the labels of a Kubernetes namespace to the Prometheus series of "
        "its pods: every metric wears its team's colours.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"livery {VERSION}")
    parser.set_defaults(root=parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    asked = next((item for item in given if not item.startswith("-")), "")
    module = "inject" if asked == "uninject" else asked
    for name in _COMMANDS:
        # `--help` lists all commands; a single command skips the others' imports.
        if module not in _COMMANDS or module == "completion" or name == module:
            module_name = f"injector.commands.{_MODULES.get(name, name)}"
            importlib.import_module(module_name).add_parsers(commands)
    return parser


def _fail_at_api_server(error: KubeError) -> int:
    if error.status == 0:
        return _fail(KubeError(0, f"the API server cannot be reached: {error.reason}"), 2)
    if error.status == 401:
        reason = f"the API server rejected your credentials: {error.reason}"
        return _fail(KubeError(401, reason), 2)
    return _fail(error, 1)


def _fail(error: Exception, code: int) -> int:
    print(printable(f"livery: {error}"), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
