"""Runs all checks, with the caller's permissions; changes nothing."""

from collections.abc import Callable, Iterator, Mapping

from webhook_certs.errors import CertificateError

from injector.errors import KubeError, ObjectError, SettingsError
from injector.kube.api.client import KubeClient
from injector.kube.doctor.aggregates import look_at_aggregates
from injector.kube.doctor.findings import Finding, Installation
from injector.kube.doctor.gateways import look_at_gateways
from injector.kube.doctor.grants import look_at_grants
from injector.kube.doctor.installation import (
    find_absence,
    look_at_certificates,
    look_at_definition,
    look_at_injector,
    look_at_registration,
    look_at_server,
)
from injector.kube.doctor.monitors import look_at_monitors
from injector.kube.doctor.namespaces import look_at_namespaces
from injector.kube.doctor.nodes import look_at_nodes

_CHECKS: Mapping[str, Callable[[KubeClient, Installation], Iterator[Finding]]] = {
    "the API server": look_at_server,
    "MetricAccess": look_at_definition,
    "the injector": look_at_injector,
    "the certificates": look_at_certificates,
    "the webhook or policy": look_at_registration,
    "permissions": look_at_grants,
    "node proxies": look_at_nodes,
    "aggregates": look_at_aggregates,
    "gateways": look_at_gateways,
    "namespaces": look_at_namespaces,
    "monitors": look_at_monitors,
}
"""Checks by subject."""


def examine(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Run all checks; what cannot be read is a finding of its own.

    Raises:
        KubeError: the API server cannot be reached (0), or rejects the credentials (401).
    """
    for what, check in _CHECKS.items():
        try:
            yield from check(client, installation)
            if check is look_at_server:
                absent = find_absence(client, installation)
                if absent is not None:
                    yield absent
                    return
        except KubeError as error:
            if error.status in (0, 401):
                # The next check would fail, too.
                raise KubeError(error.status, error.reason) from error
            yield Finding(False, f"{what} cannot be checked: {error}", _remedy(error))
        except (CertificateError, SettingsError, ObjectError) as error:
            yield Finding(False, f"{what} cannot be checked: {error}")


def _remedy(error: KubeError) -> str:
    if error.status != 403:
        return ""
    return "ask a cluster admin for this permission; livery doctor only reads, and dry-runs pods"
