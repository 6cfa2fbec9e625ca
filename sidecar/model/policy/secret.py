"""Values of Secrets, which are never shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.errors import RuleError
from sidecar.model.fields import Fields

MAX_CHARACTERS = 256 << 10


@dataclass(frozen=True)
class Credential:
    """One value of a Secret; `repr` does not contain its text."""

    text: str = field(repr=False)


Credentials = Mapping[str, Credential]
"""By Secret name and key: `receiver/password`."""


def parse_credential(value: object, path: str) -> Credential:
    """Read a credential.

    Raises:
        RuleError: it is not a credential; the message does not show the value.
    """
    text = Fields(value, path).value.get("value")
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        raise RuleError(path, f"a string of up to {MAX_CHARACTERS} characters is needed")
    return Credential(text)
