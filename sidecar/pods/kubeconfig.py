"""API server access as configured in a kubeconfig.

Source: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path

from sidecar.errors import DocumentError, SettingsError
from sidecar.model.fields import Fields
from sidecar.pods.access import ApiAccess, Credentials, Material, split_server
from sidecar.process.documents import read_document

MAX_BYTES = 4 << 20
_LISTS = ("clusters", "contexts", "users")
_OTHER_PROGRAMS = {
    "exec": "runs an external program for credentials",
    "auth-provider": "uses an auth-provider (removed from Kubernetes)",
}


def kubeconfig_files(given: str, environ: Mapping[str, str]) -> list[Path]:
    """Return the files to merge: the given one, those of KUBECONFIG, or the default one."""
    if given:
        return [Path(given).expanduser()]
    named = [part for part in environ.get("KUBECONFIG", "").split(":") if part]
    if named:
        files = [Path(part).expanduser() for part in named]
        # As in kubectl: if there are several, missing files are skipped.
        return [file for file in files if file.exists()] or files[:1]
    usual = Path(environ.get("HOME", "/")) / ".kube" / "config"
    return [usual] if usual.exists() else []


def read_kubeconfig(files: Sequence[Path], context: str = "") -> ApiAccess:
    """Read the API server of a context.

    Args:
        files: the files to merge; the first one that defines an entry wins.
        context: the context's name; empty for the current one.

    Raises:
        SettingsError: a file cannot be read, there is no such context, or it needs an unsupported
            feature; names the file or field.
    """
    merged = _Merged(files)
    name = context or merged.current
    if not name:
        raise SettingsError(
            f"{merged.where}: current-context is not set; choose a context with --context"
            f"{merged.known('contexts')}"
        )
    chosen = merged.find("contexts", name, "context")
    cluster = merged.find("clusters", chosen.text("cluster"), "cluster")
    user_name = chosen.text("user")
    user = merged.find("users", user_name, "user") if user_name else Fields({}, "", _wrong)
    if cluster.text("proxy-url"):
        raise SettingsError(
            f"{cluster.name('proxy-url')}: a proxy to the API server is not supported"
        )
    access = split_server(cluster.text("server"), cluster.name("server"))
    return access._replace(
        server_name=cluster.text("tls-server-name"),
        ca=merged.material(cluster, "certificate-authority"),
        is_verified=not cluster.flag("insecure-skip-tls-verify"),
        credentials=_read_user(merged, user),
        namespace=chosen.text("namespace") or "default",
    )


def _read_user(merged: "_Merged", user: Fields) -> Credentials:
    for key, reason in _OTHER_PROGRAMS.items():
        if user.value.get(key):
            raise SettingsError(
                f"{user.name(key)}: it {reason}, which livery-proxy does not support; use a "
                "context with a token (kubectl create token), a token file or a client certificate"
            )
    for key in ("as", "as-uid", "as-groups", "as-user-extra"):
        if user.value.get(key):
            raise SettingsError(
                f"{user.name(key)}: livery-proxy does not support impersonation; ignoring this "
                "field would give the proxy other permissions than intended"
            )
    certificate = merged.material(user, "client-certificate")
    private_key = merged.material(user, "client-key")
    if (certificate is None) is not (private_key is None):
        reason = "client-certificate and client-key must be set together"
        raise SettingsError(f"{user.path}: {reason}")
    token_file = user.text("tokenFile")
    password = user.text("password")
    return Credentials(
        token=user.text("token"),
        token_file=merged.relative(user, token_file) if token_file else None,
        basic=(user.text("username"), password) if password else None,
        certificate=certificate,
        key=private_key,
    )


def _wrong(path: str, reason: str) -> SettingsError:
    return SettingsError(f"{path}: {reason}")


class _Merged:
    """Several files merged: the first entry with a name wins."""

    def __init__(self, files: Sequence[Path]) -> None:
        if not files:
            raise SettingsError(
                "no kubeconfig found (--kubeconfig, KUBECONFIG, ~/.kube/config), and this is "
                "not a pod with a service account token"
            )
        self.where = ", ".join(map(str, files))
        self.current = ""
        self._entries: dict[tuple[str, str], Fields] = {}
        self._folders: dict[str, Path] = {}
        for file in files:
            self._add(file)

    def find(self, kind: str, name: str, what: str) -> Fields:
        """Return an entry's fields.

        Raises:
            SettingsError: there is no such entry.
        """
        found = self._entries.get((kind, name))
        if found is None:
            raise SettingsError(f"{self.where}: no {what} {name[:80]!r}{self.known(kind)}")
        return found

    def known(self, kind: str) -> str:
        """List the existing entries of a kind, for an error."""
        names = sorted(name for of_kind, name in self._entries if of_kind == kind)
        return f" (available: {', '.join(names[:20])})" if names else " (none is defined)"

    def material(self, fields: Fields, key: str) -> Material | None:
        """Return the material in the Base64 field or else the file; None if neither is set.

        Raises:
            SettingsError: it is not Base64.
        """
        encoded = fields.text(f"{key}-data")
        if encoded:
            try:
                # A YAML block may split it over several lines.
                return Material(data=base64.b64decode("".join(encoded.split()), validate=True))
            except (binascii.Error, ValueError) as error:
                raise SettingsError(f"{fields.name(f'{key}-data')}: not Base64") from error
        file = fields.text(key)
        return Material(self.relative(fields, file)) if file else None

    def relative(self, fields: Fields, file: str) -> Path:
        """Resolve a path relative to the folder of the kubeconfig that contains it."""
        return self._folders[fields.path] / file

    def _add(self, file: Path) -> None:
        try:
            document = Fields(read_document(file, MAX_BYTES), str(file), _wrong)
        except DocumentError as error:
            raise SettingsError(str(error)) from error
        self.current = self.current or document.text("current-context")
        for kind in _LISTS:
            for item in document.each(kind):
                inner = item.at(kind.removesuffix("s"))
                self._entries.setdefault((kind, item.text("name")), inner)
                self._folders[inner.path] = file.parent
