"""`livery certs`: show, create, renew and check the certificates of the injector."""

import argparse
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from webhook_certs.authority import fingerprint, load_certificate
from webhook_certs.errors import CertificateError
from webhook_certs.rotation import Material, Rotation
from webhook_certs.stores import FolderStore
from webhook_certs.tls import create_server_context

from injector.commands.colours import GREEN, RED, paint

EXAMPLES = """examples:
  livery certs show --dir certs
  livery certs create --dir certs --name localhost --name 127.0.0.1
  livery certs renew --dir certs
  livery certs check --dir certs --name livery-injector.livery-system.svc

They work on the folder of `livery serve --manifests`; in a cluster the injector keeps its
CA itself.

exit codes: 0 done, 1 there is no CA or a check failed, 2 a wrong call
"""
DEFAULT_NAME = "livery-injector.livery-system.svc"


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "certs",
        help="show, create, renew and check certificates",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name, text in (
        ("show", "show the CAs that are kept"),
        ("create", "make a CA unless there is one, and write its certificate to ca.crt"),
        ("renew", "make a new CA now, vouched for by the present one"),
        ("check", "make a leaf and verify it as a client would"),
    ):
        action = actions.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        action.add_argument(
            "--dir", type=Path, default=Path("certs"), help="where the CA is kept (%(default)s)"
        )
        if name in ("create", "check"):
            action.add_argument("--name", action="append", default=[], help="a DNS name or address")
        action.set_defaults(
            run={"show": show, "create": create, "renew": renew, "check": check}[name]
        )


def show(given: argparse.Namespace) -> int:
    """Print every CA with its life."""
    generations = FolderStore(given.dir).load().generations
    if not generations:
        raise _no_authority(given.dir)
    for number, generation in enumerate(generations, 1):
        pem = generation.authority.certificate_pem
        certificate = load_certificate(pem)
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        print(f"CA {number} of {len(generations)}: {certificate.subject.rfc4514_string()}")
        print(f"  SHA-256   {fingerprint(pem)}")
        print(f"  valid to  {certificate.not_valid_after_utc:%Y-%m-%d} ({left.days} days left)")
        print(
            f"  vouched   {'by the CA before it' if generation.cross_signed_pem else 'by itself'}"
        )
    return 0


def create(given: argparse.Namespace) -> int:
    """Make sure that there is a CA."""
    material = _issue(given)
    path = given.dir / "ca.crt"
    path.write_text(material.bundle_pem)
    print(f"CA valid to {material.authority_not_after:%Y-%m-%d}; its bundle is in {path}")
    return 0


def renew(given: argparse.Namespace) -> int:
    """Make a new CA; clients that know only the old one go on until it ends."""
    if not FolderStore(given.dir).load().generations:
        raise _no_authority(given.dir)
    Rotation(FolderStore(given.dir), [DEFAULT_NAME]).renew_authority(datetime.now(UTC))
    return create(given)


def check(given: argparse.Namespace) -> int:
    """Verify a leaf for each name in a real handshake."""
    if not FolderStore(given.dir).load().generations:
        raise _no_authority(given.dir)
    material = _issue(given)
    server = create_server_context(material.leaf)
    failures = 0
    for name in given.name or [DEFAULT_NAME]:
        reason = _handshake(server, material.bundle_pem, name)
        failures += bool(reason)
        verdict = paint(f"refused: {reason}", RED) if reason else paint("verified", GREEN)
        print(f"{name}: {verdict}")
    return 1 if failures else 0


def _no_authority(folder: Path) -> CertificateError:
    return CertificateError(f"there is no CA in {folder}; livery certs create makes one")


def _issue(given: argparse.Namespace) -> Material:
    names = getattr(given, "name", None) or [DEFAULT_NAME]
    return Rotation(FolderStore(given.dir), names).issue(datetime.now(UTC))


def _handshake(server: ssl.SSLContext, bundle_pem: str, name: str) -> str:
    """Shake hands in memory; returns why it failed, or nothing."""
    client = ssl.create_default_context(cadata=bundle_pem)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname=name)
    theirs = server.wrap_bio(up, down, server_side=True)
    try:
        for _ in range(4):
            for side in (ours, theirs):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except (ssl.SSLError, ssl.CertificateError) as error:
        return str(error)
    return ""
