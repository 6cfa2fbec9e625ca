"""`livery certs`: show, create, renew and check the certificates of the injector."""

import argparse
import ssl
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from webhook_certs.authority import fingerprint, load_certificate
from webhook_certs.errors import CertificateError
from webhook_certs.rotation import Material, Rotation
from webhook_certs.stores import FolderStore
from webhook_certs.tls import create_server_context

from injector.commands.colours import GREEN, RED, paint
from injector.commands.reports import add_output_argument, print_report
from sidecar.process.help_format import HelpFormatter

EXAMPLES = """examples:
  livery certs show --dir certs
  livery certs create --dir certs --name localhost --name 127.0.0.1
  livery certs renew --dir certs
  livery certs check --dir certs --name livery-injector.livery-system.svc

These commands work on the folder of `livery serve --manifests`; in a cluster the injector
manages its CA itself.

exit codes: 0 done, 1 there is no CA or a check failed, 2 wrong arguments
"""
DEFAULT_NAME = "livery-injector.livery-system.svc"


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "certs",
        help="show, create, renew and check certificates",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name, text in (
        ("show", "show the stored CAs"),
        ("create", "create a CA unless there is one, and write the CA bundle to ca.crt"),
        ("renew", "create a new CA now, cross-signed by the current one"),
        ("check", "issue a certificate and verify it as a client would"),
    ):
        action = actions.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=EXAMPLES,
            formatter_class=HelpFormatter,
        )
        action.add_argument(
            "--dir", type=Path, default=Path("certs"), help="folder of the CA (%(default)s)"
        )
        if name in ("create", "check"):
            action.add_argument("--name", action="append", default=[], help="a DNS name or address")
        if name in ("show", "check"):
            add_output_argument(action)
        action.set_defaults(
            run={"show": show, "create": create, "renew": renew, "check": check}[name]
        )


def show(given: argparse.Namespace) -> int:
    """Print every CA with its validity."""
    generations = FolderStore(given.dir).load().generations
    if not generations:
        raise _no_authority(given.dir)
    authorities = []
    for generation in generations:
        pem = generation.authority.certificate_pem
        certificate = load_certificate(pem)
        left = certificate.not_valid_after_utc - datetime.now(UTC)
        authorities.append({
            "subject": certificate.subject.rfc4514_string(),
            "sha256": fingerprint(pem),
            "validTo": f"{certificate.not_valid_after_utc:%Y-%m-%d}",
            "daysLeft": left.days,
            "isCrossSigned": bool(generation.cross_signed_pem),
        })  # fmt: skip
    print_report({"authorities": authorities}, _write_authorities(authorities), given.output)
    return 0


def _write_authorities(authorities: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for number, item in enumerate(authorities, 1):
        yield f"CA {number} of {len(authorities)}: {item['subject']}"
        yield f"  SHA-256   {item['sha256']}"
        yield f"  valid to  {item['validTo']} ({item['daysLeft']} days left)"
        yield f"  signed    {'by the preceding CA' if item['isCrossSigned'] else 'by itself'}"


def create(given: argparse.Namespace) -> int:
    """Create a CA unless there is one."""
    material = _issue(given)
    path = given.dir / "ca.crt"
    path.write_text(material.bundle_pem)
    print(f"CA valid to {material.authority_not_after:%Y-%m-%d}; its bundle is in {path}")
    return 0


def renew(given: argparse.Namespace) -> int:
    """Create a new CA; clients that trust only the old one keep working until that expires."""
    if not FolderStore(given.dir).load().generations:
        raise _no_authority(given.dir)
    Rotation(FolderStore(given.dir), [DEFAULT_NAME]).renew_authority(datetime.now(UTC))
    return create(given)


def check(given: argparse.Namespace) -> int:
    """Verify the certificate for each name in a real TLS handshake."""
    if not FolderStore(given.dir).load().generations:
        raise _no_authority(given.dir)
    material = _issue(given)
    server = create_server_context(material.leaf)
    names = given.name or [DEFAULT_NAME]
    reasons = {name: _handshake(server, material.bundle_pem, name) for name in names}
    checked = [
        {"name": name, "ok": not reason, "reason": reason} for name, reason in reasons.items()
    ]
    lines = (
        f"{name}: {paint(f'refused: {reason}', RED) if reason else paint('verified', GREEN)}"
        for name, reason in reasons.items()
    )
    print_report({"names": checked}, lines, given.output)
    return 1 if any(reasons.values()) else 0


def _no_authority(folder: Path) -> CertificateError:
    return CertificateError(f"there is no CA in {folder}; create one with livery certs create")


def _issue(given: argparse.Namespace) -> Material:
    names = getattr(given, "name", None) or [DEFAULT_NAME]
    return Rotation(FolderStore(given.dir), names).issue(datetime.now(UTC))


def _handshake(server: ssl.SSLContext, bundle_pem: str, name: str) -> str:
    """Perform the handshake in memory; return why it failed, or an empty string."""
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
