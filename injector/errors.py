"""The injector's errors.

InjectorError
  SettingsError      a bad argument or file of settings; exit 2, naming it
  DemoError          the demo could not go on; exit 1
  RequestError       a request cannot be answered as it is; has the HTTP status
  ObjectError        a Kubernetes object is malformed; has the field
  ManifestError      a file of manifests cannot be read; has file and line
  KubeError          the API server refuses or cannot be reached; has the HTTP status, 0 for none
  ReplicaError       another replica of the injector cannot be asked
  IdentityError      a token is not accepted, or cannot be judged now; has the HTTP status
"""


class InjectorError(Exception):
    """Anything that the injector reports to a person."""


class SettingsError(InjectorError):
    """A command line argument or a settings file is wrong."""


class DemoError(InjectorError):
    """A part of the demo did not do what it must."""


class RequestError(InjectorError):
    """A request is malformed, too large or too slow; `status` is the HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ObjectError(InjectorError):
    """A Kubernetes object is not of its kind's shape; `field` says where."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class ManifestError(InjectorError):
    """A file of manifests cannot be used; `line` counts from 1, 0 where the file is meant."""

    def __init__(self, source: str, line: int, reason: str) -> None:
        super().__init__(f"{source}:{line}: {reason}" if line else f"{source}: {reason}")
        self.source = source
        self.line = line
        self.reason = reason


class KubeError(InjectorError):
    """The API server refused (`status`), or could not be reached (0)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{reason} ({status})" if status else reason)
        self.status = status
        self.reason = reason


class IdentityError(InjectorError):
    """A token is missing or unknown (401), grants nothing (403), or cannot be judged now (503)."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ReplicaError(InjectorError):
    """Another replica of the injector refused, or answered what cannot be read."""
