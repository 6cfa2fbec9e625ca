"""Location of the control service, from the environment."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class ControlSettings(NamedTuple):
    """Location of the control service, and how to connect to it."""

    url: str
    """`https://name:port`; its certificate must be valid for the name."""
    address: str
    """Address to try first, for pods whose DNS does not know the name; empty for none."""
    ca_bundle: str
    """CA certificates that verify the service, as PEM."""
    token_file: Path
    role: str
    ca_file: Path | None = None
    """File with the CA certificates, used in place of `ca_bundle`; reloaded when it changes."""


def read_control(environ: Mapping[str, str], role: str) -> ControlSettings | None:
    """Read the location of the control service; None if LIVERY_CONTROL_URL is not set."""
    if not environ.get("LIVERY_CONTROL_URL"):
        return None
    file = environ.get("LIVERY_CONTROL_CA_FILE")
    return ControlSettings(
        url=environ["LIVERY_CONTROL_URL"],
        address=environ.get("LIVERY_CONTROL_ADDRESS", ""),
        ca_bundle=environ.get("LIVERY_CONTROL_CA", ""),
        token_file=Path(environ.get("LIVERY_TOKEN_FILE", "")),
        role=role,
        ca_file=Path(file) if file else None,
    )
