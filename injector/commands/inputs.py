"""What several commands read: manifests from files or standard input, and platform settings."""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

from injector.errors import ManifestError, SettingsError
from injector.files.manifests import Manifest, read_documents, read_manifests
from injector.model.settings import Platform
from injector.model.world import World
from injector.settings import parse_platform


class Offline(NamedTuple):
    """The world of a command without a cluster: one namespace, opted in."""

    platform: Platform
    world: World
    authorities: str
    namespace: str
    """For objects that name none."""


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name manifests and stand in for a cluster."""
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="manifests; - is stdin",
    )
    parser.add_argument("-n", "--namespace", default="default", help="for objects that name none")
    parser.add_argument(
        "--namespace-label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a label of the namespace; may be given several times",
    )
    parser.add_argument("--platform", type=Path, metavar="FILE", help="platform settings (YAML)")
    parser.add_argument(
        "--control-ca",
        type=Path,
        metavar="FILE",
        help="PEM of the control service's CA; without it proxies run on their bootstrap alone",
    )


def read_offline(given: argparse.Namespace) -> Offline:
    """Read what `add_input_arguments` took.

    Raises:
        SettingsError: a file or label is wrong.
    """
    platform = read_platform(given.platform)
    authorities = ""
    if given.control_ca is None:
        platform = Platform(**{**vars(platform), "control": None})
    else:
        authorities = read_text(given.control_ca)
    return Offline(platform, World(), authorities, given.namespace)


def add_namespace(offline: Offline, name: str, labels: list[str]) -> None:
    """Make a namespace known, with labels as given on the command line.

    Raises:
        SettingsError: a label is not `key=value`.
    """
    pairs = {}
    for text in labels:
        key, sign, value = text.partition("=")
        if not key or not sign:
            raise SettingsError(f"--namespace-label {text!r} is not KEY=VALUE")
        pairs[key] = value
    offline.world.put("Namespace", {"metadata": {"name": name, "labels": pairs}})


def read_all(filenames: list[str]) -> list[Manifest]:
    """Read every document of the files.

    Raises:
        SettingsError: no file was named.
        ManifestError: a file cannot be used.
    """
    if not filenames:
        raise SettingsError("name manifests with -f FILE, or -f - for standard input")
    manifests: list[Manifest] = []
    for filename in filenames:
        text = sys.stdin.read() if filename == "-" else read_text(Path(filename))
        manifests += read_manifests(text, "standard input" if filename == "-" else filename)
    if not manifests:
        raise ManifestError(", ".join(filenames), 0, "there is no object in it")
    return manifests


def read_platform(path: Path | None) -> Platform:
    """Read a file of platform settings; none gives the defaults.

    Raises:
        SettingsError: it cannot be used.
    """
    if path is None:
        return Platform()
    try:
        documents = [document for document, _ in read_documents(read_text(path), str(path))]
    except ManifestError as error:
        raise SettingsError(str(error)) from error
    return parse_platform(documents[0] if documents else None)


def read_rules_text(text: str, source: str) -> object:
    """Read a YAML document in which every scalar but null stays the text that was written.

    Raises:
        SettingsError: it is not YAML.
    """
    try:
        return yaml.load(text, Loader=_TextLoader)  # noqa: S506 - builds texts, lists, mappings only
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SettingsError(f"{source}:{line}: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SettingsError(f"{source}: not YAML: {error}") from error


def read_text(path: Path) -> str:
    """Read a file.

    Raises:
        SettingsError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error


class _TextLoader(yaml.SafeLoader):
    """`regex: 1.10` means the text, as for Prometheus."""


_TextLoader.yaml_implicit_resolvers = {
    first: [item for item in resolvers if item[0].endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
