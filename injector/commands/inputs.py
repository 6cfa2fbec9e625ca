"""Input of several commands: manifests from files or standard input, and platform settings."""

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from injector.commands.sources import read_sources, read_text
from injector.errors import ManifestError, ObjectError, SettingsError
from injector.files.documents import read_documents
from injector.files.manifests import Manifest, ManifestFile, read_manifest_file
from injector.model.cluster.objects import metadata_of, namespace_of
from injector.model.cluster.state import ClusterState
from injector.platform.document import parse_platform
from injector.platform.settings import Platform

# A value must not contain a comma, which separates labels in the proxy's environment variable.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL = re.compile(rf"((?:[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?/)?{_NAME})=((?:{_NAME})?)")


DEFAULT_NAMESPACE = "default"


class Live(NamedTuple):
    """Reads objects of a cluster."""

    surroundings: Callable[[str], Iterable[tuple[str, dict[str, Any]]]]
    """Returns a Namespace and its LimitRanges, each with its kind; nothing if it does not exist."""
    pod: Callable[[str, str], dict[str, Any] | None]
    """Returns a pod by namespace and name; None if it does not exist."""
    pods: Callable[[str], Iterable[dict[str, Any]]]
    """Returns the pods of a namespace."""


class Offline(NamedTuple):
    """The state of a command: settings, known objects, and the cluster behind them, if any."""

    platform: Platform
    cluster: ClusterState
    ca_bundle: str
    namespace: str
    """The namespace of objects that name none."""
    live: Live | None = None
    """The cluster that `--from-cluster` names; None for a command on files."""

    @property
    def is_from_cluster(self) -> bool:
        """Whether namespaces and settings are a cluster's."""
        return self.live is not None


def add_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name manifests."""
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="manifests: a file, a folder, an http(s) URL, or - for stdin",
    )
    parser.add_argument(
        "-n",
        "--namespace",
        help="namespace of objects that name none (default; with --from-cluster: kubeconfig's)",
    )


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name manifests and provide the settings of a cluster."""
    add_file_arguments(parser)
    parser.add_argument(
        "--namespace-label",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a label of the namespace; may be given several times",
    )
    parser.add_argument(
        "--image", metavar="NAME", help="the proxy's image, instead of the platform's"
    )
    parser.add_argument("--platform", type=Path, metavar="FILE", help="platform settings (YAML)")
    parser.add_argument(
        "--control-ca",
        type=Path,
        metavar="FILE",
        help="PEM of the control service's CA; without it proxies use only their bootstrap",
    )
    parser.add_argument(
        "--from-cluster",
        action="store_true",
        help="take settings, CA, namespaces and LimitRanges from the installation in the cluster "
        "that KUBECONFIG names",
    )
    parser.add_argument(
        "--livery-namespace", default="livery-system", help="Livery's namespace (%(default)s)"
    )
    parser.add_argument("--release", default="livery", help="Helm release (%(default)s)")


def read_offline(given: argparse.Namespace) -> Offline:
    """Read what the arguments of `add_input_arguments` name.

    Raises:
        SettingsError: a file cannot be used, or the arguments contradict each other.
    """
    if given.from_cluster:
        return _read_cluster(given)
    platform = _with_image(read_platform(given.platform), given.image)
    ca_bundle = ""
    if given.control_ca is None:
        platform = replace(platform, control=None)
    else:
        ca_bundle = _read_certificates(given.control_ca)
    return Offline(platform, ClusterState(), ca_bundle, given.namespace or DEFAULT_NAMESPACE)


def _read_cluster(given: argparse.Namespace) -> Offline:
    if given.platform is not None or given.control_ca is not None:
        raise SettingsError("--from-cluster must not be combined with --platform or --control-ca")
    # Imported only here: commands on files do not load the client, which takes 24 MB.
    from injector.kube.api.client import connect, current_namespace
    from injector.kube.objects.installed import (
        read_installed,
        read_pod,
        read_pods,
        read_surroundings,
    )

    client = connect()
    installed = read_installed(
        client,
        given.livery_namespace,
        given.release,
        parse_platform_text,
        needs_ca=getattr(given, "patch", True),  # to explain a pod, none is written
    )
    platform = _with_image(installed.platform, given.image)
    live = Live(
        partial(read_surroundings, client), partial(read_pod, client), partial(read_pods, client)
    )
    namespace = given.namespace or current_namespace() or DEFAULT_NAMESPACE
    return Offline(platform, ClusterState(), installed.ca_bundle, namespace, live)


def _with_image(platform: Platform, image: str | None) -> Platform:
    if image is not None and not image.strip():
        raise SettingsError("--image must not be empty")
    return platform if image is None else replace(platform, image=image)


def learn(offline: Offline, manifests: Sequence[Manifest]) -> None:
    """Use Namespaces and LimitRanges among the manifests as if they were in the cluster.

    Raises:
        ManifestError: one is malformed.
    """
    for manifest in manifests:
        kind = manifest.obj.get("kind")
        with placed(manifest):
            if kind == "Namespace":
                offline.cluster.put("Namespace", manifest.obj)
            elif kind == "LimitRange":
                namespace = namespace_of(manifest.obj) or offline.namespace
                metadata = {**metadata_of(manifest.obj), "namespace": namespace}
                offline.cluster.put("LimitRange", {**manifest.obj, "metadata": metadata})


def load_namespace(offline: Offline, name: str) -> bool:
    """Read a namespace of the cluster, unless it is known; returns whether it exists."""
    if offline.cluster.namespace(name) is None and offline.live is not None:
        for kind, obj in offline.live.surroundings(name):
            offline.cluster.put(kind, obj)
    return offline.cluster.namespace(name) is not None


def add_namespace(offline: Offline, name: str, labels: list[str]) -> None:
    """Add a namespace; labels from the command line override those of its manifest.

    Raises:
        SettingsError: a label is not `key=value`.
    """
    load_namespace(offline, name)
    known = offline.cluster.namespace(name)
    merged = {} if known is None else dict(known.labels)
    for text in labels:
        match = _LABEL.fullmatch(text)
        if match is None:
            raise SettingsError(f"--namespace-label: {text[:80]!r} is not a label KEY=VALUE")
        merged[match[1]] = match[2]
    offline.cluster.put("Namespace", {"metadata": {"name": name, "labels": merged}})


def check_namespaces(manifests: Iterable[Manifest], namespace: str | None) -> None:
    """Check that objects belong to the given namespace.

    Raises:
        SettingsError: an object names another namespace.
    """
    for manifest in manifests:
        with placed(manifest):
            own = namespace_of(manifest.obj)
        if namespace is not None and own and own != namespace:
            raise SettingsError(
                f"{manifest.source}:{manifest.line}: its namespace is {own}, but -n names "
                f"{namespace}: pass -n {own}, or leave -n out"
            )


@contextmanager
def placed(manifest: Manifest) -> Iterator[None]:
    """Add file and line to the error about a malformed object.

    Raises:
        ManifestError: it is malformed.
    """
    try:
        yield
    except ObjectError as error:
        raise ManifestError(manifest.source, manifest.line, str(error)) from error


def read_all(filenames: list[str]) -> list[Manifest]:
    """Read every object of the files, as `read_files` does."""
    return [manifest for file in read_files(filenames) for manifest in file.manifests]


def read_files(filenames: list[str]) -> list[ManifestFile]:
    """Read the given files.

    Raises:
        SettingsError: no file is given.
        ManifestError: a file cannot be used.
    """
    if not filenames:
        raise SettingsError("name manifests with -f FILE; -f - reads standard input")
    files: list[ManifestFile] = []
    named = ["standard input" if filename == "-" else filename for filename in filenames]
    for filename in filenames:
        for source, text in read_sources(filename):
            files.append(read_manifest_file(text, source))
    if not any(file.documents for file in files):
        raise ManifestError(", ".join(named), 0, "it contains no object")
    return files


def read_platform(path: Path | None) -> Platform:
    """Read a file of platform settings; None returns the defaults.

    Raises:
        SettingsError: it cannot be used.
    """
    return Platform() if path is None else parse_platform_text(read_text(path), str(path))


def parse_platform_text(text: str, source: str) -> Platform:
    """Read platform settings in YAML; `source` names them in errors.

    Raises:
        SettingsError: they cannot be used.
    """
    try:
        documents = [document for document, _ in read_documents(text, source)]
    except ManifestError as error:
        raise SettingsError(str(error)) from error
    if len(documents) > 1:
        raise SettingsError(f"{source}: must be one YAML document, not {len(documents)}")
    return parse_platform(documents[0] if documents else None)


def _read_certificates(path: Path) -> str:
    """Read a PEM file to be written into every pod: it must contain no private key."""
    text = read_text(path)
    if "PRIVATE KEY" in text:
        raise SettingsError(
            f"--control-ca: {path} contains a private key; use the CA's certificate, such as ca.crt"
        )
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise SettingsError(f"--control-ca: {path} contains no PEM certificate")
    return text
