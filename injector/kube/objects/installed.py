"""Reads what an installation writes into pods from its cluster, to inject pods by hand."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import quote

from injector.errors import KubeError, SettingsError
from injector.kube.api.client import JsonObject, KubeClient
from injector.kube.objects.service_address import ServiceAddress
from injector.platform.settings import Platform
from sidecar.model.access.objects import API_VERSION

_PODS_A_PAGE = 500


class Installed(NamedTuple):
    """An installation's settings, and the CAs that its proxies trust."""

    platform: Platform
    ca_bundle: str


def read_installed(
    client: KubeClient,
    namespace: str,
    release: str,
    read_platform: Callable[[str, str], Platform],
    *,
    needs_ca: bool = True,
) -> Installed:
    """Read an installation.

    Args:
        client: the cluster.
        namespace: Livery's namespace.
        release: name of the Helm release.
        read_platform: parses settings; takes YAML and a name for errors.
        needs_ca: whether pods will be written, which must trust the CA.

    Raises:
        SettingsError: there is none, or it is not complete yet; says what to do.
        KubeError: a request failed.
    """
    platform = read_installed_platform(client, namespace, release, read_platform)
    if platform.control is None:
        return Installed(platform, "")
    ca_bundle = _read_map(client, namespace, f"{release}-authorities").get("ca.crt", "")
    if not ca_bundle and not needs_ca:
        return Installed(platform, "")
    if not ca_bundle:
        raise SettingsError(
            f"ConfigMap {namespace}/{release}-authorities has no CA yet; is the injector running?"
        )
    service = platform.control.url.removeprefix("https://").partition(".")[0]
    address = ServiceAddress(client, namespace, service).read()
    return Installed(replace(platform, control=replace(platform.control, address=address)),
                     ca_bundle)  # fmt: skip


def read_installed_platform(
    client: KubeClient,
    namespace: str,
    release: str,
    read_platform: Callable[[str, str], Platform],
) -> Platform:
    """Read an installation's settings; arguments and errors are those of `read_installed`."""
    data = _read_map(client, namespace, f"{release}-platform")
    text = data.get("platform.yaml", "")
    return read_platform(text, f"ConfigMap {namespace}/{release}-platform")


def read_surroundings(client: KubeClient, namespace: str) -> Iterator[tuple[str, JsonObject]]:
    """Yield a Namespace and its LimitRanges, each with its kind; nothing if it does not exist.

    Raises:
        KubeError: a request failed.
    """
    path = f"/api/v1/namespaces/{namespace}"
    try:
        yield "Namespace", client.request("GET", path)
    except KubeError as error:
        if error.status != 404:
            raise
        return
    for item in client.request("GET", f"{path}/limitranges").get("items") or []:
        yield "LimitRange", item


def read_pod(client: KubeClient, namespace: str, name: str) -> JsonObject | None:
    """Return a pod; None if it does not exist.

    Raises:
        KubeError: the request failed.
    """
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(name, safe='')}"
    try:
        return {"kind": "Pod", **client.request("GET", path)}
    except KubeError as error:
        if error.status != 404:
            raise
        return None


def read_pods(client: KubeClient, namespace: str) -> Iterator[JsonObject]:
    """Yield the pods of a namespace, page by page.

    Raises:
        KubeError: the API server does not answer.
    """
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"
    query = {"limit": str(_PODS_A_PAGE)}
    while True:
        page = client.request("GET", path, query=query)
        yield from ({"kind": "Pod", **item} for item in page.get("items") or [])
        following = (page.get("metadata") or {}).get("continue")
        if not following:
            return
        query = {**query, "continue": following}


def read_access_objects(client: KubeClient, namespace: str) -> Iterator[JsonObject]:
    """Yield the MetricAccess objects of a namespace; nothing if the CRD is not installed.

    Raises:
        KubeError: the request failed.
    """
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/metricaccesses"
    try:
        yield from client.request("GET", path).get("items") or []
    except KubeError as error:
        if error.status != 404:
            raise


def _read_map(client: KubeClient, namespace: str, name: str) -> dict[str, str]:
    try:
        found = client.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
    except KubeError as error:
        if error.status != 404:
            raise
        raise SettingsError(
            f"there is no ConfigMap {namespace}/{name}; name the installation with "
            "--livery-namespace and --release"
        ) from error
    return found.get("data") or {}
