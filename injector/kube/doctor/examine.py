"""Everything that is looked at, with the rights of whoever asks; nothing is changed."""

from collections.abc import Callable, Iterator, Sequence

from webhook_certs.errors import CertificateError

from injector.errors import KubeError, ObjectError, SettingsError
from injector.kube.api.client import KubeClient
from injector.kube.doctor.findings import Finding, Installation
from injector.kube.doctor.grants import look_at_grants
from injector.kube.doctor.installation import (
    look_at_certificates,
    look_at_definition,
    look_at_injector,
    look_at_registration,
    look_at_server,
)
from injector.kube.doctor.monitors import look_at_monitors
from injector.kube.doctor.namespaces import look_at_namespaces
from injector.kube.doctor.nodes import look_at_nodes

_CHECKS: Sequence[Callable[[KubeClient, Installation], Iterator[Finding]]] = (
    look_at_server,
    look_at_definition,
    look_at_injector,
    look_at_certificates,
    look_at_registration,
    look_at_grants,
    look_at_nodes,
    look_at_namespaces,
    look_at_monitors,
)


def examine(client: KubeClient, installation: Installation) -> Iterator[Finding]:
    """Look at everything; what cannot be read is a finding of its own.

    Raises:
        KubeError: the API server cannot be reached.
    """
    for check in _CHECKS:
        try:
            yield from check(client, installation)
        except KubeError as error:
            if error.status == 0:
                # It does not answer: nor will it the next look.
                raise KubeError(0, str(error)) from error
            yield Finding(is_well=False, sentence=f"cannot be looked at: {error}")
        except (CertificateError, SettingsError, ObjectError) as error:
            yield Finding(is_well=False, sentence=f"cannot be looked at: {error}")
