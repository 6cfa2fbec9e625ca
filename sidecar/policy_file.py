"""A policy from a file, YAML or JSON, for proxies that run without a control service."""

import json
from collections.abc import Iterable
from pathlib import Path

from sidecar.errors import PolicyError
from sidecar.model.policy import MAX_POLICY_BYTES, Policy, parse_policy

MAX_DEPTH = 50


def read_policy_file(path: Path) -> Policy:
    """Read and check a policy file.

    Raises:
        PolicyError: it cannot be read, is not YAML, or is not a policy.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_POLICY_BYTES + 1)
        if len(content) > MAX_POLICY_BYTES:
            raise PolicyError(f"{path}: more than {MAX_POLICY_BYTES} bytes")
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{path}: {error}") from error
    try:
        return parse_policy(_load(text))
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from error


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        # Imported only here: a proxy in a cluster gets its policy as JSON and does not pay for it.
        import yaml

        try:
            _check_events(yaml.parse(text))
            return yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError, ValueError, KeyError) as error:
            raise PolicyError(f"not YAML: {' '.join(str(error).split())}") from error


def _check_events(events: Iterable[object]) -> None:
    """Refuse what a few lines of YAML can blow up: copies by alias, depth without end."""
    depth = 0
    for event in events:
        name = type(event).__name__
        if name == "AliasEvent":
            raise PolicyError("aliases (*name) are not read here; write the value out")
        if name.startswith(("Sequence", "Mapping")):
            depth += 1 if name.endswith("StartEvent") else -1
        if depth > MAX_DEPTH:
            raise PolicyError(f"not YAML: nested deeper than {MAX_DEPTH} levels")
