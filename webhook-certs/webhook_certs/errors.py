"""Errors of `webhook_certs`.

CertificateError   a key, certificate or chain is wrong, or cannot be kept
  ConflictError    another process saved first: load again and go on from there
"""


class CertificateError(Exception):
    """A key, certificate or chain cannot be used; says which and why."""


class ConflictError(CertificateError):
    """The store holds something newer than what was changed."""
