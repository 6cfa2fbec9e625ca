"""Settings of pod discovery: the arguments of Alloy's `discovery.kubelet`, with the same names.

Source: https://grafana.com/docs/alloy/latest/reference/components/discovery/discovery.kubelet/
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from sidecar.errors import RuleError
from sidecar.model.fields import Fields
from sidecar.model.pods.durations import parse_duration

DEFAULT_URL = "https://localhost:10250"
DEFAULT_REFRESH_SECONDS = 5.0
TLS_VERSIONS = ("TLS10", "TLS11", "TLS12", "TLS13")
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """How a server's certificate is verified, and the client certificate that it gets."""

    ca_pem: str = ""
    ca_file: str = ""
    cert_pem: str = ""
    cert_file: str = ""
    key_pem: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False
    min_version: str = "TLS12"
    server_name: str = ""


@dataclass(frozen=True, kw_only=True)
class ProxySettings:
    """The HTTP or SOCKS proxy through which a server is reached."""

    proxy_url: str = ""
    no_proxy: str = ""
    proxy_from_environment: bool = False
    proxy_connect_header: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BasicAuth:
    """A user's name and password."""

    username: str = ""
    password: str = ""
    password_file: str = ""


@dataclass(frozen=True, kw_only=True)
class Authorization:
    """The scheme and credentials of an Authorization header."""

    type: str = "Bearer"
    credentials: str = ""
    credentials_file: str = ""


@dataclass(frozen=True, kw_only=True)
class OAuth2:
    """How a token is obtained: the client credentials grant of RFC 6749."""

    client_id: str = ""
    client_secret: str = ""
    client_secret_file: str = ""
    scopes: tuple[str, ...] = ()
    token_url: str = ""
    endpoint_params: Mapping[str, str] = field(default_factory=dict)
    tls: TlsSettings = TlsSettings()
    proxy: ProxySettings = ProxySettings()


@dataclass(frozen=True, kw_only=True)
class DiscoverySettings:
    """All arguments; the defaults are Alloy's."""

    url: str = DEFAULT_URL
    """The kubelet's URL; `/pods` is appended to its path."""
    refresh_interval_seconds: float = DEFAULT_REFRESH_SECONDS
    namespaces: tuple[str, ...] = ()
    """Namespaces whose pods are discovered; empty for all."""
    bearer_token: str = ""
    bearer_token_file: str = ""
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    oauth2: OAuth2 | None = None
    tls: TlsSettings = TlsSettings()
    proxy: ProxySettings = ProxySettings()
    enable_http2: bool = True
    follow_redirects: bool = True


_PROXY_KEYS = ("proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header")
_KEYS = frozenset(
    [
        "url", "refresh_interval", "namespaces", "bearer_token", "bearer_token_file",
        "basic_auth", "authorization", "oauth2", "tls_config", "enable_http2", "follow_redirects",
        *_PROXY_KEYS,
    ]
)  # fmt: skip
_TLS_KEYS = frozenset(TlsSettings.__dataclass_fields__)
_OAUTH2_KEYS = frozenset(
    [
        "client_id", "client_secret", "client_secret_file", "scopes", "token_url",
        "endpoint_params", "tls_config", *_PROXY_KEYS,
    ]
)  # fmt: skip
_WAYS = ("bearer_token", "bearer_token_file", "basic_auth", "authorization", "oauth2")


def parse_discovery_settings(value: object) -> DiscoverySettings:
    """Read a document of arguments.

    Raises:
        RuleError: an argument is unknown, invalid, or conflicts with another; names them.
    """
    block = _Block({} if value is None else value, "", _KEYS)
    block.at_most_one(*_WAYS)
    refresh = parse_duration(block.text("refresh_interval") or "5s")
    if not refresh:
        raise RuleError(
            "refresh_interval",
            f"{block.text('refresh_interval')[:40]!r} is not a duration such as 5s",
        )
    basic, authorization, oauth2 = (block.block(name) for name in _WAYS[2:])
    return DiscoverySettings(
        url=_url(block, "url") or DEFAULT_URL,
        refresh_interval_seconds=refresh,
        namespaces=block.strings("namespaces"),
        bearer_token=block.credential("bearer_token"),
        bearer_token_file=block.text("bearer_token_file"),
        basic_auth=None if basic is None else _basic_auth(basic),
        authorization=None if authorization is None else _authorization(authorization),
        oauth2=None if oauth2 is None else _oauth2(oauth2),
        tls=_tls(block),
        proxy=_proxy(block),
        enable_http2=block.flag("enable_http2", default=True),
        follow_redirects=block.flag("follow_redirects", default=True),
    )


class _Block(Fields):
    """A mapping of arguments, and its path in the document."""

    def __init__(self, value: object, path: str, keys: frozenset[str]) -> None:
        super().__init__(value, path)
        self.refuse_unknown(keys, "an argument")
        # Null means absent, because templates render unset values as null.
        self.value = {str(key): item for key, item in self.value.items() if item is not None}

    def credential(self, key: str) -> str:
        """Return a secret that is sent in a header unchanged."""
        value = self.text(key)
        if not value.isascii() or not value.isprintable():
            raise RuleError(self.name(key), "it contains characters that an HTTP header may not")
        return value

    def block(self, key: str, keys: frozenset[str] | None = None) -> "_Block | None":
        if key not in self.value:
            return None
        return _Block(self.value[key], self.name(key), keys or _BLOCKS[key])

    def at_most_one(self, *keys: str) -> None:
        given = [key for key in keys if key in self.value]
        if len(given) > 1:
            names = " and ".join(map(self.name, given))
            raise RuleError(names, f"at most one of {', '.join(keys)} can be given")

    def together(self, first: tuple[str, ...], second: tuple[str, ...]) -> None:
        """Refuse arguments of one group without any of the other."""
        has = [any(key in self.value for key in keys) for keys in (first, second)]
        if has[0] != has[1]:
            there, missing = (first, second) if has[0] else (second, first)
            given = next(key for key in there if key in self.value)
            wanted = " or ".join(map(self.name, missing))
            raise RuleError(self.name(given), f"needs {wanted}, too")


_BLOCKS = {
    "basic_auth": frozenset(BasicAuth.__dataclass_fields__),
    "authorization": frozenset(Authorization.__dataclass_fields__),
    "oauth2": _OAUTH2_KEYS,
    "tls_config": _TLS_KEYS,
}


def _basic_auth(block: _Block) -> BasicAuth:
    block.at_most_one("password", "password_file")
    name = block.text("username")
    if ":" in name:
        raise RuleError(block.name("username"), "must not contain a colon")
    return BasicAuth(
        username=name,
        password=block.text("password"),
        password_file=block.text("password_file"),
    )


def _authorization(block: _Block) -> Authorization:
    block.at_most_one("credentials", "credentials_file")
    kind = block.credential("type") or "Bearer"
    if kind.lower() == "basic":
        raise RuleError(block.name("type"), "Basic is not supported here: use basic_auth")
    return Authorization(
        type=kind,
        credentials=block.credential("credentials"),
        credentials_file=block.text("credentials_file"),
    )


def _oauth2(block: _Block) -> OAuth2:
    block.at_most_one("client_secret", "client_secret_file")
    for key in ("client_id", "token_url"):
        if not block.text(key):
            raise RuleError(block.name(key), "is required")
    return OAuth2(
        client_id=block.text("client_id"),
        client_secret=block.text("client_secret"),
        client_secret_file=block.text("client_secret_file"),
        scopes=block.strings("scopes"),
        token_url=_url(block, "token_url"),
        endpoint_params=_secrets(block, "endpoint_params"),
        tls=_tls(block),
        proxy=_proxy(block),
    )


def _tls(outer: _Block) -> TlsSettings:
    block = outer.block("tls_config")
    if block is None:
        return TlsSettings()
    for kind in ("ca", "cert", "key"):
        block.at_most_one(f"{kind}_pem", f"{kind}_file")
    block.together(("cert_pem", "cert_file"), ("key_pem", "key_file"))
    version = block.text("min_version") or "TLS12"
    if version not in TLS_VERSIONS:
        known = ", ".join(TLS_VERSIONS)
        raise RuleError(block.name("min_version"), f"{version[:40]!r} is not one of {known}")
    return TlsSettings(
        ca_pem=block.text("ca_pem"),
        cert_pem=block.text("cert_pem"),
        key_pem=block.text("key_pem"),
        ca_file=block.text("ca_file"),
        cert_file=block.text("cert_file"),
        key_file=block.text("key_file"),
        insecure_skip_verify=block.flag("insecure_skip_verify", default=False),
        min_version=version,
        server_name=block.text("server_name"),
    )


def _proxy(block: _Block) -> ProxySettings:
    from_environment = block.flag("proxy_from_environment", default=False)
    url, no_proxy = _url(block, "proxy_url", PROXY_SCHEMES), block.text("no_proxy")
    headers = block.mapping("proxy_connect_header")
    for other, given in (("proxy_url", url), ("no_proxy", no_proxy)):
        if from_environment and given:
            names = f"{block.name(other)} and {block.name('proxy_from_environment')}"
            raise RuleError(names, "at most one of them can be given")
    if no_proxy and not url:
        raise RuleError(block.name("no_proxy"), f"needs {block.name('proxy_url')}, too")
    if headers and not url and not from_environment:
        wanted = f"{block.name('proxy_url')} or {block.name('proxy_from_environment')}"
        raise RuleError(block.name("proxy_connect_header"), f"needs {wanted}, too")
    return ProxySettings(
        proxy_url=url,
        no_proxy=no_proxy,
        proxy_from_environment=from_environment,
        proxy_connect_header={
            key: _header(values, f"{block.name('proxy_connect_header')}.{key[:80]}")
            for key, values in headers.items()
        },
    )


def _secrets(block: _Block, key: str) -> dict[str, str]:
    # Not `string_map`, whose error shows the value.
    for name, value in block.mapping(key).items():
        if not isinstance(value, str):
            raise RuleError(f"{block.name(key)}.{name}", "a string is needed")
    return dict(block.mapping(key))


def _header(values: object, path: str) -> tuple[str, ...]:
    given = values if isinstance(values, list) else [values]
    for value in given:
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise RuleError(path, "a printable string or a list of them is needed")
    return tuple(given)


def _url(block: _Block, key: str, schemes: tuple[str, ...] = ("https", "http")) -> str:
    text = block.text(key)
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if text and (not is_good or not text.isascii() or not text.isprintable() or " " in text):
        # A proxy's URL may contain a password, so it is not shown.
        raise RuleError(block.name(key), f"a URL with scheme {' or '.join(schemes)} is needed")
    return text
