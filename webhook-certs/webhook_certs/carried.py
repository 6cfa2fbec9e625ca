"""Trust that survives a change of the certificate's issuer.

While the certificate is provided externally, the self-managed CA is kept: clients trust it, too, so
that they keep working when it issues again. It also cross-signs the external CA, so that clients
that know only the self-managed CA can verify the certificate that is served now.
"""

from collections.abc import Sequence
from datetime import datetime

from webhook_certs.authority import Authority, cross_sign
from webhook_certs.errors import CertificateError
from webhook_certs.rotation import Issuer, Material, Rotation
from webhook_certs.stores import Store

_END = "-----END CERTIFICATE-----\n"


class CarriedTrust:
    """Serves another issuer's certificate and preserves trust in the self-managed CA.

    Args:
        provided: issues the certificate.
        store: stores the self-managed CA, which is left out if it cannot be read or written.
        names: the server's names.
    """

    def __init__(self, provided: Issuer, store: Store, names: Sequence[str]) -> None:
        self._provided = provided
        self._own = Rotation(store, names)
        self._bridges: dict[tuple[str, str], str] = {}
        """Cross-signed certificates, by the signing and the signed CA."""

    def issue(self, now: datetime) -> Material:
        """Return what to serve now.

        Raises:
            CertificateError: nothing usable is provided.
        """
        material = self._provided.issue(now)
        try:
            generations = self._own.generations(now)
            newest = generations[-1].authority
            bridges = "".join(
                self._bridge(newest, pem, now) for pem in _divide(material.bundle_pem)
            )
        except CertificateError:
            return material
        older = "".join(item.cross_signed_pem for item in reversed(generations[1:]))
        own = "".join(item.authority.certificate_pem for item in reversed(generations))
        chain = material.leaf.chain_pem
        chain += "" if chain.endswith("\n") else "\n"
        return material._replace(
            leaf=material.leaf._replace(chain_pem=chain + bridges + older),
            bundle_pem=material.bundle_pem + own,
        )

    def _bridge(self, signer: Authority, pem: str, now: datetime) -> str:
        key = signer.certificate_pem, pem
        if key not in self._bridges:
            # Created once: a chain that differs would look like a renewed certificate.
            self._bridges[key] = cross_sign(signer, Authority(pem, ""), now)
        return self._bridges[key]


def _divide(bundle_pem: str) -> list[str]:
    return [part + _END for part in bundle_pem.split(_END) if part.strip()]
