"""`livery targets`: the pods of a kubelet as targets for Prometheus."""

import argparse
import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from injector.errors import SettingsError
from sidecar.control.policy_file import read_policy_file
from sidecar.errors import LiveryError, PolicyError
from sidecar.errors import SettingsError as SidecarSettingsError
from sidecar.kubelet.discovery.source import Discovery, NamespaceLabels
from sidecar.model.pods.discovery_settings import DiscoverySettings
from sidecar.model.pods.http_sd import render_http_sd
from sidecar.model.policy.node import parse_node_policy
from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  livery targets --url https://10.0.0.7:10250 --bearer-token-file token --ca-file ca.crt --once
      list the targets of a node in the format of Prometheus' HTTP service discovery
  livery targets --config kubelet.yaml --namespace shop --namespace bank
      keep running; print a line of JSON at the start and whenever the targets change
  livery targets --url https://api:6443/api/v1/nodes/worker-1/proxy --bearer-token-file token --once
      connect through the API server, which needs permission for nodes/proxy

The config holds the arguments of Alloy's discovery.kubelet under their names, as YAML or JSON; the
command line takes precedence. --policy FILE (`namespaces: {shop: {team: frontend}}`) adds
namespaces' labels.

exit codes: 0 done, 1 the kubelet could not be queried, 2 wrong arguments
"""


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "targets",
        help="the pods of a kubelet as targets for Prometheus",
        description="List a kubelet's pods as targets, without asking the API server.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    add = parser.add_argument
    add("--url", default="", help="URL of the kubelet (https://localhost:10250)")
    add(
        "--namespace",
        action="append",
        default=[],
        help="only pods of this namespace; may be given several times",
    )
    add("--once", action="store_true", help="print the targets once and exit")
    add(
        "--config",
        type=Path,
        metavar="FILE",
        help="arguments of Alloy's discovery.kubelet (YAML or JSON)",
    )
    add("--bearer-token-file", default="", metavar="FILE", help="bearer token for the kubelet")
    add("--ca-file", default="", metavar="FILE", help="CAs that sign the kubelet's certificate")
    add(
        "--insecure-skip-verify",
        action="store_true",
        help="skip verification of the kubelet's certificate",
    )
    add(
        "--policy",
        type=Path,
        metavar="FILE",
        help="labels of namespaces, as a policy file of the node role",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print the targets to standard output."""
    labels: NamespaceLabels = {}
    try:
        if given.policy is not None:
            labels = read_policy_file(given.policy, parse_node_policy).namespace_labels
        return asyncio.run(_tell(given, labels))
    except (SidecarSettingsError, PolicyError) as error:
        raise SettingsError(str(error)) from error
    except LiveryError as error:
        print(f"livery: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


async def _tell(given: argparse.Namespace, labels: NamespaceLabels) -> int:
    discovery = Discovery(given.config, lambda settings: _complete(settings, given))
    try:
        if given.once:
            _print(render_http_sd(await discovery.targets(labels), indent=2))
            return 0
        await _follow(discovery, labels)
    finally:
        await discovery.close()
    return 0


async def _follow(discovery: Discovery, labels: NamespaceLabels) -> None:
    """Print the targets whenever they change; while the kubelet fails, the last ones stay."""
    told, said = b"", ""
    while True:
        try:
            body = render_http_sd(await discovery.targets(labels))
            said = ""
        except LiveryError as error:
            if discovery.last_targets() is None:
                raise
            if str(error) != said:
                said = str(error)
                print(f"livery: {said}; keeping the last targets", file=sys.stderr)
        else:
            if body != told:
                told = body
                _print(body)
        await asyncio.sleep(discovery.refresh_interval_seconds)


def _print(body: bytes) -> None:
    print(body.decode(), flush=True)


def _complete(settings: DiscoverySettings, given: argparse.Namespace) -> DiscoverySettings:
    """Give the command line precedence over the document."""
    tls = settings.tls
    if given.ca_file:
        tls = replace(tls, ca_file=given.ca_file, ca_pem="")
    if given.insecure_skip_verify:
        tls = replace(tls, insecure_skip_verify=True)
    if given.bearer_token_file:
        settings = replace(
            settings, bearer_token_file=given.bearer_token_file, bearer_token="",
            basic_auth=None, authorization=None, oauth2=None,
        )  # fmt: skip
    return replace(
        settings,
        tls=tls,
        url=given.url or settings.url,
        namespaces=tuple(given.namespace) or settings.namespaces,
    )
