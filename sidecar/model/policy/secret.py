"""What a Secret holds, which is shown nowhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sidecar.errors import RuleError
from sidecar.model.fields import Fields

MAX_CHARACTERS = 256 << 10


@dataclass(frozen=True)
class Credential:
    """One value of a Secret; its text stands in no `repr`."""

    text: str = field(repr=False)


Credentials = Mapping[str, Credential]
"""By the name of the Secret and its key: `receiver/password`."""


def parse_credential(value: object, path: str) -> Credential:
    """Read a credential.

    Raises:
        RuleError: it is none; the value is not shown.
    """
    text = Fields(value, path).value.get("value")
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        raise RuleError(path, f"a text of up to {MAX_CHARACTERS} characters is needed")
    return Credential(text)
