"""Trust that outlives a change of who issues the certificate.

While somebody else provides it, the own CA is kept and carried along: clients are told to trust it,
too, so that they go on when the own one issues again; and it vouches for the other's CA, so that
clients that know only the own one verify what is served now.
"""

from collections.abc import Sequence
from datetime import datetime

from webhook_certs.authority import Authority, cross_sign
from webhook_certs.errors import CertificateError
from webhook_certs.rotation import Issuer, Material, Rotation
from webhook_certs.stores import Store

_END = "-----END CERTIFICATE-----\n"


class CarriedTrust:
    """Issues what another does, with the trust in the own CA.

    Args:
        provided: issues the certificate.
        store: keeps the own CA; one that cannot be read or written is left out.
        names: of the server.
    """

    def __init__(self, provided: Issuer, store: Store, names: Sequence[str]) -> None:
        self._provided = provided
        self._own = Rotation(store, names)
        self._bridges: dict[tuple[str, str], str] = {}
        """What vouches for a CA, by it and the one that does."""

    def issue(self, now: datetime) -> Material:
        """Return what is served now.

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
            # Made once: a chain that differs would be a renewed certificate.
            self._bridges[key] = cross_sign(signer, Authority(pem, ""), now)
        return self._bridges[key]


def _divide(bundle_pem: str) -> list[str]:
    return [part + _END for part in bundle_pem.split(_END) if part.strip()]
