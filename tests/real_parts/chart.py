"""Renders Livery's chart with a real Helm."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.real_parts.kubernetes import helm_program
from tests.real_parts.presence import have

REGISTRY = ("--set", "image.registry=localhost")
"""A required value; later flags take precedence."""
CHART = Path(__file__).parent.parent.parent / "charts" / "livery"


def render_chart(template: str, *flags: str) -> list[Any]:
    """Return the objects of one template, with the default values and these flags."""
    command = [
        str(have(helm_program)), "template", "livery", str(CHART), "--namespace", "livery-system",
        "--show-only", template, *REGISTRY, *flags,
    ]  # fmt: skip
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [item for item in yaml.safe_load_all(text) if item is not None]
