"""Undo an injection: what `livery uninject` does to a manifest."""

import copy
import json
from typing import Any

from injector.errors import ObjectError
from injector.model import names
from injector.model.objects import Object, annotations_of, get_list, get_mapping, get_strings


def uninject(pod: Object) -> dict[str, Any]:
    """Return the pod as it was before the webhook; one without a proxy comes back equal.

    Raises:
        ObjectError: its `livery.dev/status` or `livery.dev/original` is not what was written.
    """
    restored: dict[str, Any] = copy.deepcopy(dict(pod))
    annotations = annotations_of(pod)
    if names.STATUS not in annotations or names.ORIGINAL not in annotations:
        return restored
    status = _read(annotations, names.STATUS)
    original = _read(annotations, names.ORIGINAL)
    spec, metadata = restored["spec"], restored["metadata"]
    _drop(spec, "initContainers", {status.get("container")})
    _drop(spec, "containers", {status.get("container")})
    _drop(spec, "volumes", set(status.get("volumes", [])))
    _drop(spec, "imagePullSecrets", set(status.get("imagePullSecrets", [])))
    for name in names.SCRAPE_KEYS:
        metadata["annotations"].pop(f"prometheus.io/{name}", None)
    for key in (names.STATUS, names.ORIGINAL):
        metadata["annotations"].pop(key)
    metadata["annotations"].update(get_strings(original, "annotations", names.ORIGINAL))
    if "labels" in metadata:
        metadata["labels"].pop(names.PROXY_LABEL, None)
        metadata["labels"].update(get_strings(original, "labels", names.ORIGINAL))
    _remove_created(restored, original.get("created", []))
    return restored


def _read(annotations: Object, key: str) -> dict[str, Any]:
    try:
        value = json.loads(annotations[key])
    except (ValueError, RecursionError) as error:
        raise ObjectError(f"metadata.annotations.{key}", "not the JSON that was written") from error
    if not isinstance(value, dict):
        raise ObjectError(f"metadata.annotations.{key}", "not the JSON that was written")
    return value


def _drop(spec: dict[str, Any], field: str, unwanted: set[Any]) -> None:
    if field in spec:
        items = get_list(spec, field, "spec")
        spec[field] = [item for item in items if item.get("name") not in unwanted]


def _remove_created(restored: dict[str, Any], created: object) -> None:
    """Take away the parents that the patch had to make, innermost first, if they are empty."""
    if not isinstance(created, list):
        return
    for path in sorted(map(str, created), key=len, reverse=True):
        *parents, last = path.split("/")[1:]
        found: Object = restored
        for key in parents:
            found = get_mapping(found, key)
        if isinstance(found, dict) and found.get(last) in ({}, []):
            del found[last]
