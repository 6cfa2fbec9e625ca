"""Builds the patch that adds the proxy to a pod, according to the decision."""

from typing import Any

from injector.model.admission.decide import Decision
from injector.model.admission.meshes import exempt_ports
from injector.model.admission.patch import Operation, PatchBuilder
from injector.model.admission.templates import (
    PodProxy,
    compact_json,
    render_container,
    render_token_volume,
    template_hash,
)
from injector.model.cluster import names
from injector.model.cluster.objects import (
    Object,
    annotations_of,
    get_mapping,
    get_names,
    labels_of,
    metadata_of,
)
from injector.platform.settings import Platform
from sidecar import VERSION
from sidecar.model.pods.scrape_annotations import ScrapeAnnotations, read_scrape_annotations
from sidecar.model.pods.scrape_targets import MESH_CONTAINERS


def patch(
    pod: Object, decision: Decision, platform: Platform, ca_bundle: str = ""
) -> list[Operation]:
    """Return the operations that carry out a decision; empty unless it is to inject.

    Args:
        pod: the raw pod that the decision is about.
        decision: the result of `decide`.
        platform: the platform's settings.
        ca_bundle: PEM of the CAs that sign the control service.
    """
    if decision.proxy is None:
        return []
    return _Patcher(pod, decision.proxy, platform).patch(ca_bundle)


class _Patcher:
    """Builds the operations, all of them on Livery's own paths."""

    def __init__(self, pod: Object, proxy: PodProxy, platform: Platform) -> None:
        self._pod = pod
        self._spec = get_mapping(pod, "spec")
        self._proxy = proxy
        self._platform = platform
        self._builder = PatchBuilder(pod)
        self._exemption = exempt_ports(
            platform.mesh, annotations_of(pod), (proxy.port, proxy.admin_port)
        )

    def patch(self, ca_bundle: str) -> list[Operation]:
        proxy, builder = self._proxy, self._builder
        container = render_container(proxy, self._platform, ca_bundle)
        if proxy.is_native:
            builder.insert(("spec", "initContainers"), self._native_index(), container)
        else:
            builder.insert(("spec", "containers"), None, container)
        volume = render_token_volume(proxy.token_volume)
        builder.insert(("spec", "volumes"), None, volume)
        secrets = self._add_pull_secrets()
        scrape = read_scrape_annotations(annotations_of(self._pod))
        self._point_at_proxy(scrape)
        builder.put_key(("metadata", "labels"), names.PROXY_LABEL, "pod")
        self._note(scrape, secrets)
        return builder.operations

    def _native_index(self) -> int:
        """Return 0, or the index after a mesh's containers, which carry the proxy's traffic."""
        present = get_names(self._spec, "initContainers", "spec")
        mesh = [i for i, name in enumerate(present) if name in MESH_CONTAINERS]
        return max(mesh, default=-1) + 1

    def _add_pull_secrets(self) -> list[str]:
        present = get_names(self._spec, "imagePullSecrets", "spec")
        added = [name for name in self._platform.image_pull_secrets if name not in present]
        for name in added:
            self._builder.insert(("spec", "imagePullSecrets"), None, {"name": name})
        return added

    def _point_at_proxy(self, scrape: ScrapeAnnotations) -> None:
        parent = ("metadata", "annotations")
        wanted = {
            # Keep "false": a pod that wants a proxy but no scrape probably has a PodMonitor.
            "scrape": scrape.values.get("scrape", "true"),
            "port": str(self._proxy.port),
            "path": "/metrics",
            "scheme": "http",
        }
        if scrape.is_slow and "scrape" not in scrape.values:
            del wanted["scrape"]  # else it would be scraped at both intervals
        canonical = {f"prometheus.io/{name}": value for name, value in wanted.items()}
        for key in scrape.keys:
            if key not in canonical:
                self._builder.remove_key(parent, key)
        for key, value in canonical.items():
            self._builder.put_key(parent, key, value)
        if self._exemption is not None:
            self._builder.put_key(parent, *self._exemption)

    def _note(self, scrape: ScrapeAnnotations, secrets: list[str]) -> None:
        """Record what was done, and what `livery uninject` needs to undo it."""
        labels = labels_of(self._pod)
        parent = ("metadata", "annotations")
        status: dict[str, Any] = {
            "version": VERSION,
            "template": template_hash(self._platform),
            "container": names.PROXY_CONTAINER,
            "volumes": [self._proxy.token_volume],
            "imagePullSecrets": secrets,
            "targets": [str(target) for target in self._proxy.targets],
        }
        moved = [*scrape.keys]
        if self._exemption is not None:
            status["exempted"] = self._exemption.key
            moved.append(self._exemption.key)
        # The raw values: a manifest may contain null.
        raw = get_mapping(metadata_of(self._pod), "annotations", "metadata")
        kept: dict[str, Any] = {key: raw[key] for key in moved if key in raw}
        for key in (names.STATUS, names.ORIGINAL):
            if key in raw:
                kept[key] = raw[key]
        original: dict[str, Any] = {"annotations": kept, "created": self._builder.created}
        if self._builder.replaced_nulls:
            original["nulls"] = self._builder.replaced_nulls
        if names.PROXY_LABEL in labels:
            original["labels"] = {names.PROXY_LABEL: labels[names.PROXY_LABEL]}
        self._builder.put_key(parent, names.STATUS, compact_json(status))
        self._builder.put_key(parent, names.ORIGINAL, compact_json(original))
