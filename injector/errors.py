"""The injector's errors.

InjectorError
  SettingsError      an invalid argument or settings file, which it names; exit code 2
  DemoError          a step of the demo failed; exit code 1
  RequestError       a request is refused; has the HTTP status
  ObjectError        a Kubernetes object is malformed; has the field
  ManifestError      a manifest file cannot be read; has the file and line
  KubeError          the API server refused (has the HTTP status) or is unreachable (0)
  ReplicaError       another replica of the injector cannot be queried
  IdentityError      a caller is rejected or cannot be verified now; has the HTTP status
"""


class InjectorError(Exception):
    """Base class of all errors that the injector reports to users."""


class SettingsError(InjectorError):
    """A command-line argument or a settings file is invalid."""


class DemoError(InjectorError):
    """A step of the demo failed."""


class RequestError(InjectorError):
    """A request is refused, for example as malformed or too large; `status` is the HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ObjectError(InjectorError):
    """A Kubernetes object is malformed; `field` is the path of the invalid field."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class ManifestError(InjectorError):
    """A manifest file cannot be used; `line` starts at 1, 0 means the whole file."""

    def __init__(self, source: str, line: int, reason: str) -> None:
        super().__init__(f"{source}:{line}: {reason}" if line else f"{source}: {reason}")
        self.source = source
        self.line = line
        self.reason = reason


class KubeError(InjectorError):
    """The API server refused a request (HTTP `status`) or is unreachable (`status` 0)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{reason} ({status})" if status else reason)
        self.status = status
        self.reason = reason


class IdentityError(InjectorError):
    """A token is missing or invalid (401), not authorized (403) or cannot be verified now (503)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ReplicaError(InjectorError):
    """Another replica of the injector refused a request or sent an invalid response."""
