"""Writing policies and naming them; the control service's end.

A policy is a function of the cluster's present objects only. Its version is a hash of its text, so
every replica of the control service gives the same policy the same name. Of credentials it has the
revision, not the value: a version is shown and logged.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def policy_version(document: Mapping[str, object]) -> str:
    """Name a policy by its content: equal documents have equal versions, on every replica."""
    forward = document.get("forward")
    if isinstance(forward, Mapping) and isinstance(forward.get("credentials"), Mapping):
        shown = {name: conceal(item) for name, item in forward["credentials"].items()}
        document = {**document, "forward": {**forward, "credentials": shown}}
    return content_hash(encode(document))


def conceal(credential: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what of a credential is shown: not its value."""
    return {name: item for name, item in credential.items() if name != "value"}


def content_hash(*texts: bytes) -> str:
    """Name texts by their content."""
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]


def encode(document: Mapping[str, object]) -> bytes:
    """Write a document as one line of JSON, keys sorted."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
