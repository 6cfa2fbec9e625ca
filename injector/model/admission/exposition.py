"""How a pod's proxy reads and limits its targets, from the pod's annotations."""

from collections.abc import Mapping
from typing import NamedTuple

from injector.model.admission.outcomes import AdmissionWarning, WarningCode
from injector.model.cluster.names import FALLBACK_PROTOCOL, LIMIT, PASS_HEADERS
from injector.platform.settings import Platform
from sidecar.errors import SettingsError
from sidecar.model.exposition.formats import parse_protocol
from sidecar.model.exposition.limits import LIMITS, MIB
from sidecar.model.passed_headers import parse_passed_headers

_DEFAULTS = {limit.name: limit.default for limit in LIMITS}
_BYTES_OF_BODY = 8
_BYTES_OF_SAMPLE = 1 << 10


class ExpositionSettings(NamedTuple):
    """What is passed on to targets, and the limits of their responses."""

    passed_headers: tuple[str, ...]
    fallback_protocol: str
    limits: Mapping[str, int]
    """Limits by name; only those that differ from the proxy's defaults."""

    @property
    def extra_memory_bytes(self) -> int:
        """The memory that these limits require beyond the container's default limit.

        8 bytes per response byte above 10 MiB and 1 KiB per sample above 50,000, rounded up to
        MiB: measured with a hostile application, plus a margin.
        """
        body = self.limits.get("bytes", _DEFAULTS["bytes"]) - _DEFAULTS["bytes"]
        samples = self.limits.get("samples", _DEFAULTS["samples"]) - _DEFAULTS["samples"]
        more = _BYTES_OF_BODY * max(0, body) + _BYTES_OF_SAMPLE * max(0, samples)
        return -(-more // MIB) * MIB


def read_exposition(
    annotations: Mapping[str, str], platform: Platform
) -> tuple[ExpositionSettings, list[AdmissionWarning]]:
    """Read the annotations; an invalid one has no effect and causes a warning."""
    warnings: list[AdmissionWarning] = []
    headers: tuple[str, ...] = ()
    protocol = annotations.get(FALLBACK_PROTOCOL, "").strip()
    try:
        headers = parse_passed_headers(annotations.get(PASS_HEADERS, ""))
    except SettingsError as error:
        warnings.append(_warn(PASS_HEADERS, error))
    try:
        if protocol:
            parse_protocol(protocol)
    except SettingsError as error:
        warnings.append(_warn(FALLBACK_PROTOCOL, error))
        protocol = ""
    limits = dict(platform.limits)
    for limit in LIMITS:
        key = LIMIT.format(limit.name)
        if key not in annotations:
            continue
        try:
            limits[limit.name] = limit.parse(annotations[key])
        except SettingsError as error:
            warnings.append(_warn(key, error))
    differing = {name: value for name, value in limits.items() if value != _DEFAULTS[name]}
    return ExpositionSettings(headers, protocol, differing), warnings


def render_arguments(settings: ExpositionSettings) -> list[str]:
    """Return the settings as the proxy's arguments."""
    arguments: list[str] = []
    if settings.passed_headers:
        arguments += ["--pass-headers", ",".join(settings.passed_headers)]
    if settings.fallback_protocol:
        arguments += ["--fallback-protocol", settings.fallback_protocol]
    for limit in LIMITS:
        if limit.name in settings.limits:
            arguments += [f"--{limit.name}-limit", str(settings.limits[limit.name])]
    return arguments


def _warn(key: str, error: SettingsError) -> AdmissionWarning:
    return AdmissionWarning(WarningCode.BAD_ANNOTATION, f"annotation {key} has no effect: {error}")
