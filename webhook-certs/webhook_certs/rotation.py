"""Decides which certificate to serve now, and when to check again.

A CA is renewed at half its lifetime. It cross-signs its successor, and that certificate is sent in
the chain until the old CA expires: clients with only the old CA, only the new one, or both, verify
the same leaf. So no client needs a new CA before it is used. It is published first nevertheless:
`Material.bundle_pem` contains every valid CA.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from webhook_certs.authority import (
    CA_LIFETIME,
    LEAF_LIFETIME,
    Authority,
    Leaf,
    create_authority,
    cross_sign,
    issue_leaf,
    load_certificate,
)
from webhook_certs.errors import CertificateError, ConflictError
from webhook_certs.stores import Generation, Kept, Store

KEY_GRACE = timedelta(days=1)
"""How long the key of a CA is kept after it has cross-signed its successor."""
_ATTEMPTS = 5
NAME = "livery"


class Lifetimes(NamedTuple):
    """How long certificates are valid; short lifetimes make rotation testable."""

    authority: timedelta = CA_LIFETIME
    leaf: timedelta = LEAF_LIFETIME


class Material(NamedTuple):
    """The certificate to serve, the CAs that clients must trust, and when to call `issue` again."""

    leaf: Leaf
    bundle_pem: str
    authority_not_after: datetime
    renew_at: datetime


class Issuer(Protocol):
    """Provides the certificate to serve."""

    def issue(self, now: datetime) -> Material:
        """Return what to serve now; the same leaf as before while it is still good.

        Raises:
            CertificateError: there is no usable certificate.
        """


class Rotation:
    """Keeps a store's CAs fresh and signs leaves with the newest."""

    def __init__(
        self, store: Store, names: Sequence[str], lifetimes: Lifetimes | None = None
    ) -> None:
        self._store = store
        self._names = tuple(names)
        self._lifetimes = lifetimes or Lifetimes()
        self._last: Material | None = None

    def issue(self, now: datetime) -> Material:
        """Return a leaf; create or renew the CA first if that is due.

        The leaf is a new one if half the lifetime of the last is over, or if the CAs changed.

        Raises:
            CertificateError: the store cannot be read or written.
        """
        kept = self._ensure(now)
        newest = kept.generations[-1]
        bundle = "".join(item.authority.certificate_pem for item in reversed(kept.generations))
        last = self._last
        if last is not None and last.bundle_pem == bundle and now < last.renew_at:
            return last
        leaf = issue_leaf(
            newest.authority,
            self._names,
            now,
            lifetime=self._lifetimes.leaf,
            # From the newest CA back to the oldest valid one, each cross-signed by the one before:
            # a single path, because verifiers do not backtrack.
            intermediates_pem="".join(
                item.cross_signed_pem for item in reversed(kept.generations[1:])
            ),
        )
        renew_at = leaf.not_before + (leaf.not_after - leaf.not_before) / 2
        end = load_certificate(newest.authority.certificate_pem).not_valid_after_utc
        renew_at = max(renew_at, now + self._lifetimes.leaf / 4)
        self._last = Material(leaf, bundle, end, renew_at)
        return self._last

    def generations(self, now: datetime) -> tuple[Generation, ...]:
        """Return the CAs that are valid now, oldest first; create one if there is none.

        Raises:
            CertificateError: the store cannot be read or written.
        """
        return self._ensure(now).generations

    def renew_authority(self, now: datetime) -> None:
        """Create a new CA at once, whatever the age of the current one.

        Raises:
            CertificateError: the store cannot be read or written.
        """
        kept = self._ensure(now)
        self._store.save(self._successors(kept, now), kept.version)

    def _ensure(self, now: datetime) -> Kept:
        for _ in range(_ATTEMPTS):
            kept = self._store.load()
            generations = _current(kept.generations, now)
            is_fresh = generations and not _is_half_over(generations[-1].authority, now)
            if is_fresh and not _has_spent_keys(generations, now):
                return kept._replace(generations=generations)
            try:
                if is_fresh:
                    return self._store.save(_without_spent_keys(generations), kept.version)
                return self._store.save(
                    self._successors(kept._replace(generations=generations), now), kept.version
                )
            except ConflictError:
                continue  # another replica was faster: use what it made
        raise CertificateError(f"the CA store changed {_ATTEMPTS} times while it was being written")

    def _successors(self, kept: Kept, now: datetime) -> tuple[Generation, ...]:
        authority = create_authority(NAME, now, self._lifetimes.authority)
        older = kept.generations[-1:]
        crossed = cross_sign(older[0].authority, authority, now) if older else ""
        return (*kept.generations, Generation(authority, crossed))


def _has_spent_keys(generations: tuple[Generation, ...], now: datetime) -> bool:
    """Return whether older CAs still have keys that are no longer needed for cross-signing."""
    newest = load_certificate(generations[-1].authority.certificate_pem)
    # Not at once: for a replica whose clock is behind, the newest CA is not valid yet.
    is_settled = now >= newest.not_valid_before_utc + KEY_GRACE
    return is_settled and any(item.authority.key_pem for item in generations[:-1])


def _without_spent_keys(generations: tuple[Generation, ...]) -> tuple[Generation, ...]:
    older = tuple(
        item._replace(authority=item.authority._replace(key_pem="")) for item in generations[:-1]
    )
    return (*older, generations[-1])


def _current(generations: tuple[Generation, ...], now: datetime) -> tuple[Generation, ...]:
    """Return the CAs that are valid now: a clock that was ahead may have created a future one."""
    return tuple(item for item in generations if _counts(item.authority, now))


def _counts(authority: Authority, now: datetime) -> bool:
    certificate = load_certificate(authority.certificate_pem)
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _is_half_over(authority: Authority, now: datetime) -> bool:
    certificate = load_certificate(authority.certificate_pem)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return now >= begin + (end - begin) / 2
