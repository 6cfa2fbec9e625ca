"""Where the control service is, as the environment says it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class ControlSettings(NamedTuple):
    """Where the control service is and how to speak to it."""

    url: str
    """`https://name:port`; the name is what its certificate must show."""
    address: str
    """The address to connect to, empty to look the name up: a pod's DNS may not know it."""
    ca_bundle: str
    """PEM of the CA certificates that sign it."""
    token_file: Path
    role: str
    ca_file: Path | None = None
    """A file that holds the CAs and is followed, in place of `ca_bundle`."""


def read_control(environ: Mapping[str, str], role: str) -> ControlSettings | None:
    """Read where the control service is; None where nobody said."""
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
