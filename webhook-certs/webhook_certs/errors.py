"""Errors of `webhook_certs`.

CertificateError   a key, certificate or chain is invalid or cannot be stored
  ConflictError    another process saved first: load again and retry
"""


class CertificateError(Exception):
    """A key, certificate or chain cannot be used; the message says which and why."""


class ConflictError(CertificateError):
    """The store has changed since it was loaded."""
