"""Encodes policies and computes their versions, on the control service's side.

A policy is a function of the cluster's present objects only. Its version is a hash of its content,
so every replica of the control service gives equal policies equal versions. The hash covers a
credential's revision, not its value, because versions are shown and logged.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def policy_version(document: Mapping[str, object]) -> str:
    """Return a policy's version: equal documents have equal versions, on every replica."""
    forward = document.get("forward")
    if isinstance(forward, Mapping) and isinstance(forward.get("credentials"), Mapping):
        shown = {name: conceal(item) for name, item in forward["credentials"].items()}
        document = {**document, "forward": {**forward, "credentials": shown}}
    return content_hash(encode(document))


def conceal(credential: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a credential that may be shown: everything but its value."""
    return {name: item for name, item in credential.items() if name != "value"}


def content_hash(*texts: bytes) -> str:
    """Return a short hash of the concatenated texts."""
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]


def encode(document: Mapping[str, object]) -> bytes:
    """Return a document as one line of JSON with sorted keys."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
