"""Forwarding: the part of a policy that says what is sent where; read only if present."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.errors import RuleError
from sidecar.model.access.rules import parse_access_rule
from sidecar.model.described import Described
from sidecar.model.fields import Fields
from sidecar.model.policy.document import DocumentReader, Origin, check_text
from sidecar.model.policy.secret import Credential, Credentials, parse_credential
from sidecar.model.remote_write.selection import Labels, SendingRule

MAX_RULES = 100
MAX_RECEIVERS = 32
MAX_ALL_RECEIVERS = 100
"""For all rules together, because each receiver may have a queue."""
MAX_EXTRA_CHARACTERS = 4096
MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 5.0, 86400.0
_FIELDS = frozenset(["allowedRanges", "rules", "credentials"])
_RULE_FIELDS = frozenset(["access", "intervalSeconds", "extraLabels", "honorLabels", "receivers"])
_RECEIVER_FIELDS = frozenset(
    [
        "kind", "host", "port", "path", "isService", "headers", "tls", "basicAuth", "bearerToken",
        "jobName", "deletesOnShutdown",
    ]
)  # fmt: skip
_TLS_FIELDS = frozenset(["ca", "certificate", "key", "serverName", "skipsVerification"])
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_PATH = re.compile(r"/[!-~]{0,2047}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,255}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]{0,4096}")
_OWN_HEADERS = frozenset(
    [
        "host", "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te",
        "trailer", "transfer-encoding", "upgrade", "user-agent", "expect",
        "x-prometheus-remote-write-version",
    ]
)  # fmt: skip
"""Request headers that only Livery sets."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ReceiverKind(Described):
    """How a receiver accepts samples."""

    WRITE = "write", "by remote write"
    PUSH = "push", "as a Pushgateway does: the last values, in groups"


class TlsSettings(NamedTuple):
    """How a receiver's certificate is verified, and the client certificate that it gets."""

    ca: str = ""
    """The credential with the CAs; empty for the system's."""
    certificate: str = ""
    key: str = ""
    server_name: str = ""
    """The name that its certificate must have; empty for the host."""
    skips_verification: bool = False


class ReceiverAddress(NamedTuple):
    """Where a rule's samples are sent; secrets are given as names of credentials."""

    host: str
    port: int
    path: str
    kind: ReceiverKind = ReceiverKind.WRITE
    is_service: bool = False
    """Whether it is a Service in the tenant's own namespace."""
    headers: tuple[tuple[str, str], ...] = ()
    tls: TlsSettings | None = None
    """None for plain HTTP."""
    username: str = ""
    password: str = ""
    bearer_token: str = ""
    job_name: str = ""
    deletes_on_shutdown: bool = False

    @property
    def credentials(self) -> frozenset[str]:
        """Names of the credentials that it needs."""
        tls = self.tls or TlsSettings()
        names = (self.password, self.bearer_token, tls.ca, tls.certificate, tls.key)
        return frozenset(filter(None, names))


class ForwardRule(NamedTuple):
    """What one MetricAccess object sends, how often, and where."""

    sending: SendingRule
    interval_seconds: float
    receivers: tuple[ReceiverAddress, ...]

    @property
    def is_pushing(self) -> bool:
        """Whether its receivers are Pushgateways."""
        return self.receivers[0].kind is ReceiverKind.PUSH

    @property
    def name(self) -> str:
        """The object's name."""
        return self.sending.access.name


@dataclass(frozen=True)
class Forwarding:
    """Everything that a policy forwards."""

    rules: tuple[ForwardRule, ...] = ()
    allowed: tuple[Network, ...] = ()
    """Address ranges that receivers may always use, even otherwise forbidden ones."""
    credentials: Credentials = field(default_factory=dict)


def parse_forwarding(value: object, reader: DocumentReader) -> Forwarding:
    """Read the forwarding part; a rule that cannot be read sends nothing, the others still do.

    Raises:
        RuleError: from a file only: something cannot be read.
    """
    fields = Fields(value, "forward")
    reader.check(fields, _FIELDS, "a field of forwarding")
    allowed = read_ranges(fields)
    credentials = fields.at("credentials")
    rules = fields.each("rules")
    if len(rules) > MAX_RULES:
        error = RuleError("forward.rules", f"at most {MAX_RULES} are allowed")
        if reader.origin is Origin.FILE:
            raise error
        reader.note(f"{error}; the rules after them send nothing")
    found: list[ForwardRule] = []
    for rule in rules[:MAX_RULES]:
        try:
            found.append(_parse_beside(rule, found))
        except RuleError as error:
            if reader.origin is Origin.FILE:
                raise
            reader.note(f"{error}; this rule sends nothing")
    return Forwarding(tuple(found), allowed, _read_credentials(credentials))


def _parse_beside(rule: Fields, others: Iterable[ForwardRule]) -> ForwardRule:
    """Read a rule; refuse it if it and the others have too many receivers."""
    check_text(rule.value, rule.path)
    parsed = parse_forward_rule(rule)
    receivers = sum(len(one.receivers) for one in (*others, parsed))
    if receivers > MAX_ALL_RECEIVERS:
        why = f"with this rule there are {receivers} receivers; {MAX_ALL_RECEIVERS} are allowed"
        raise RuleError(rule.name("receivers"), why)
    return parsed


def _read_credentials(fields: Fields) -> dict[str, Credential]:
    return {
        str(name): parse_credential(value, fields.name(str(name)))
        for name, value in fields.value.items()
    }


def parse_forward_rule(rule: Fields) -> ForwardRule:
    """Read the forwarding rule of one object.

    Raises:
        RuleError: it cannot be read, or has an unknown field; names the field.
    """
    # An unknown field may restrict what is sent, or change how it is sent.
    rule.refuse_unknown(_RULE_FIELDS, "a field of a forwarding rule")
    access = parse_access_rule(rule.value.get("access"), rule.name("access"))
    extra, interval, receivers = parse_way(rule)
    sending = SendingRule(access, extra, rule.flag("honorLabels"))
    return ForwardRule(sending, interval, receivers)


class Way(NamedTuple):
    """How a rule sends, independent of what it sends."""

    extra_labels: Labels
    interval_seconds: float
    receivers: tuple[ReceiverAddress, ...]


def parse_way(rule: Fields) -> Way:
    """Read how a rule sends.

    Raises:
        RuleError: it cannot be read; names the field.
    """
    extra = rule.string_map("extraLabels")
    _check_label_names(extra, rule.name("extraLabels"))
    if sum(len(name) + len(value) for name, value in extra.items()) > MAX_EXTRA_CHARACTERS:
        why = f"more than {MAX_EXTRA_CHARACTERS} characters, which every series would carry"
        raise RuleError(rule.name("extraLabels"), why)
    interval = _read_interval(rule)
    receivers = rule.each("receivers")
    if not 0 < len(receivers) <= MAX_RECEIVERS:
        raise RuleError(rule.name("receivers"), f"1 to {MAX_RECEIVERS} receivers are needed")
    addresses = tuple(map(_read_receiver, receivers))
    if len({address.kind for address in addresses}) > 1:
        raise RuleError(rule.name("receivers"), "all must have the same kind")
    return Way(extra, interval, addresses)


def _read_interval(rule: Fields) -> float:
    interval = rule.value.get("intervalSeconds")
    is_number = isinstance(interval, int | float) and not isinstance(interval, bool)
    seconds = float(interval or 0) if is_number else 0.0
    if MIN_INTERVAL_SECONDS <= seconds <= MAX_INTERVAL_SECONDS:
        return seconds
    bounds = f"{MIN_INTERVAL_SECONDS:g} to {MAX_INTERVAL_SECONDS:g}"
    raise RuleError(rule.name("intervalSeconds"), f"a number from {bounds} is needed")


def _read_receiver(fields: Fields) -> ReceiverAddress:
    fields.refuse_unknown(_RECEIVER_FIELDS, "a field of a receiver")
    host, path, port = fields.text("host"), fields.text("path"), fields.value.get("port")
    kind = next((one for one in ReceiverKind if one == (fields.text("kind") or "write")), None)
    if kind is None:
        raise RuleError(fields.name("kind"), f"not one of {', '.join(ReceiverKind)}")
    if _HOST.fullmatch(host) is None:
        raise RuleError(fields.name("host"), "a host name or an IP address is needed")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise RuleError(fields.name("port"), "a port from 1 to 65535 is needed")
    if _PATH.fullmatch(path or "/") is None:
        raise RuleError(
            fields.name("path"),
            "a path is needed: at most 2048 ASCII characters, first a /, no spaces",
        )
    basic = fields.at("basicAuth")
    basic.refuse_unknown(["username", "password"], "a field of basicAuth")
    return ReceiverAddress(
        host=host,
        port=port,
        path=path,
        kind=kind,
        is_service=fields.flag("isService"),
        headers=_read_headers(fields),
        tls=None if fields.value.get("tls") is None else _read_tls(fields.at("tls")),
        username=basic.text("username"),
        password=basic.text("password"),
        bearer_token=fields.text("bearerToken"),
        job_name=fields.text("jobName"),
        deletes_on_shutdown=fields.flag("deletesOnShutdown"),
    )


def _check_label_names(labels: Iterable[str], path: str) -> None:
    """Refuse invalid label names and those reserved for Prometheus.

    Raises:
        RuleError: there is such a name; names it.
    """
    for name in labels:
        if _LABEL.fullmatch(name) is None or name.startswith("__"):
            raise RuleError(path, f"{name[:60]!r} is not a label name that can be added")


def check_header(name: str, value: str, path: str) -> None:
    """Refuse a header that is invalid or must not be set.

    Raises:
        RuleError: it is such a header; names the field.
    """
    is_own = name.lower() in _OWN_HEADERS or name.lower().startswith("content-")
    if is_own or _HEADER.fullmatch(name) is None or _HEADER_VALUE.fullmatch(value) is None:
        raise RuleError(path, f"{name[:60]!r} is invalid or not a header that can be set")


def _read_headers(fields: Fields) -> tuple[tuple[str, str], ...]:
    headers = fields.string_map("headers")
    for name, value in headers.items():
        check_header(name, value, fields.name("headers"))
    return tuple(headers.items())


def _read_tls(fields: Fields) -> TlsSettings:
    fields.refuse_unknown(_TLS_FIELDS, "a TLS setting")
    return TlsSettings(
        ca=fields.text("ca"),
        certificate=fields.text("certificate"),
        key=fields.text("key"),
        server_name=fields.text("serverName"),
        skips_verification=fields.flag("skipsVerification"),
    )


def read_ranges(fields: Fields) -> tuple[Network, ...]:
    """Read `allowedRanges`.

    Raises:
        RuleError: an item is not an address range.
    """
    return tuple(_networks(fields))


def _networks(fields: Fields) -> Iterator[Network]:
    for text in fields.strings("allowedRanges"):
        try:
            yield ipaddress.ip_network(text)
        except ValueError as error:
            raise RuleError(fields.name("allowedRanges"), str(error)) from error
