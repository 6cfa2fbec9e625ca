"""Undoes an injection, for `livery uninject`."""

import copy
import json
import re
from collections.abc import Collection
from typing import Any

from injector.errors import ObjectError
from injector.model.admission.meshes import EXEMPTING
from injector.model.cluster import names
from injector.model.cluster.objects import (
    Object,
    annotations_of,
    get_list,
    get_mapping,
    get_names,
    get_strings,
    labels_of,
)
from sidecar.model.pods.scrape_annotations import SCRAPE_KEYS, SCRAPE_SPELLING

_OWN_VOLUME = re.compile(rf"{names.TOKEN_VOLUME}(?:-[0-9]+)?")
_CREATED = frozenset(
    [
        "/metadata",
        "/metadata/annotations",
        "/metadata/labels",
        "/spec/imagePullSecrets",
        "/spec/initContainers",
        "/spec/volumes",
    ]
)
"""Parents that the patch may have created."""


def uninject(pod: Object) -> dict[str, Any]:
    """Return the pod as it was before injection; a pod without a proxy stays unchanged.

    Raises:
        ObjectError: its `livery.dev/status` or `livery.dev/original` is not what Livery wrote.
    """
    restored: dict[str, Any] = copy.deepcopy(dict(pod))
    annotations = annotations_of(pod)
    if not (names.STATUS in annotations and names.ORIGINAL in annotations and _has_proxy(pod)):
        return restored
    status = _read(annotations, names.STATUS)
    original = _read(annotations, names.ORIGINAL)
    spec, metadata = restored["spec"], restored["metadata"]
    _drop(spec, "initContainers", {names.PROXY_CONTAINER})
    _drop(spec, "containers", {names.PROXY_CONTAINER})
    volumes = _texts(status, "volumes", names.STATUS)
    _drop(spec, "volumes", {name for name in volumes if _OWN_VOLUME.fullmatch(name)})
    _drop(spec, "imagePullSecrets", _texts(status, "imagePullSecrets", names.STATUS))
    for name in SCRAPE_KEYS:
        metadata["annotations"].pop(f"prometheus.io/{name}", None)
    for key in (names.STATUS, names.ORIGINAL):
        metadata["annotations"].pop(key)
    exempted = status.get("exempted")
    own = {exempted} & set(EXEMPTING.values()) if isinstance(exempted, str) else set()
    for key in own:
        metadata["annotations"].pop(key, None)
    metadata["annotations"].update(_saved_annotations(original, own))
    if labels_of(pod):
        metadata["labels"].pop(names.PROXY_LABEL, None)
        saved = get_strings(original, "labels", names.ORIGINAL)
        if names.PROXY_LABEL in saved:
            metadata["labels"][names.PROXY_LABEL] = saved[names.PROXY_LABEL]
    created = _texts(original, "created", names.ORIGINAL) & _CREATED
    _remove_created(restored, created, _texts(original, "nulls", names.ORIGINAL))
    return restored


def _saved_annotations(original: Object, more: Collection[str]) -> dict[str, Any]:
    """Return the annotations that Livery moved; a forged note can restore no others."""
    saved = get_mapping(original, "annotations", names.ORIGINAL)
    return {
        key: value
        for key, value in saved.items()
        if (SCRAPE_SPELLING.fullmatch(key) or key in (names.STATUS, names.ORIGINAL, *more))
        and (value is None or isinstance(value, str))
    }


def _has_proxy(pod: Object) -> bool:
    spec = get_mapping(pod, "spec")
    containers = get_names(spec, "containers", "spec") + get_names(spec, "initContainers", "spec")
    return names.PROXY_CONTAINER in containers


def _read(annotations: Object, key: str) -> dict[str, Any]:
    try:
        value = json.loads(annotations[key])
    except (ValueError, RecursionError) as error:
        raise ObjectError(f"metadata.annotations.{key}", "not the JSON Livery wrote") from error
    if not isinstance(value, dict):
        raise ObjectError(f"metadata.annotations.{key}", "not the JSON Livery wrote")
    return value


def _texts(note: Object, field: str, key: str) -> set[str]:
    value = note.get(field, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ObjectError(f"metadata.annotations.{key}", f"{field} is not a list of strings")
    return set(value)


def _drop(spec: dict[str, Any], field: str, unwanted: set[str]) -> None:
    if spec.get(field):
        items = get_list(spec, field, "spec")
        spec[field] = [item for item in items if str(item.get("name")) not in unwanted]


def _remove_created(restored: dict[str, Any], created: set[str], nulls: set[str]) -> None:
    """Remove the parents that the patch created if they are empty, innermost first."""
    for path in sorted(created, key=len, reverse=True):
        *parents, last = path.split("/")[1:] or [""]
        found: Object = restored
        for key in parents:
            found = get_mapping(found, key)
        if isinstance(found, dict) and found.get(last) in ({}, []):
            if path in nulls:
                found[last] = None
            else:
                del found[last]
