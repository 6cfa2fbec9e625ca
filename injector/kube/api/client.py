"""JSON client for the API server; the library does configuration, TLS, tokens and transport."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3
from kubernetes import config
from kubernetes.client import ApiClient, ApiException, Configuration

from injector.errors import KubeError, SettingsError

REQUEST_TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 256 << 20
MAX_EVENT_BYTES = 16 << 20
"""Limit for one object with its envelope; etcd stores at most 1.5 MB per object."""
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
_REFUSED = re.compile(
    r"HTTPS?Connection\(host='(?P<host>[^']*)', port=(?P<port>\d+)\): "
    r".*\[Errno -?\d+\] (?P<reason>[^()]*)"
)
"""The library's words where no connection came about."""
_UNTRUSTED = re.compile(r"certificate verify failed: ([^()]+)")
_FAILURES = (ApiException, urllib3.exceptions.HTTPError, OSError)

JsonObject = dict[str, Any]


class KubeClient:
    """Client for one cluster; its methods block, and may be called from several threads."""

    def __init__(self, configuration: Configuration) -> None:
        configuration.retries = False  # the caller decides how to handle a failure
        configuration.connection_pool_maxsize = 32
        self._api = ApiClient(configuration)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        warn: Callable[[str], None] = lambda warning: None,
    ) -> JsonObject:
        """Send one request; returns the response's object.

        Args:
            method: the HTTP method.
            path: of the object or collection.
            query: query parameters.
            body: an object to send.
            content_type: of the body.
            accept: the media type of the response.
            warn: called with each warning in the response.

        Raises:
            KubeError: the API server cannot be reached, answers with an error, or does not send an
                object.
        """
        headers = {"Accept": accept, "Content-Type": content_type}
        data = self._read(method, path, query, headers=headers, body=body, warn=warn)
        return _parse(data, path)

    def read_text(self, path: str) -> str:
        """Return the text at a path, for example of a pod through the API server's proxy.

        Raises:
            KubeError: the API server cannot be reached, or answers with an error.
        """
        return self._read("GET", path, None, headers={"Accept": "*/*"}, body=None).decode(
            errors="replace"
        )

    def _read(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        *,
        headers: dict[str, str],
        body: JsonObject | None,
        warn: Callable[[str], None] = lambda warning: None,
    ) -> bytes:
        response = self._send(
            method, path, query, headers=headers, body=body, timeout=REQUEST_TIMEOUT_SECONDS
        )
        for text in response.headers.getlist("Warning"):
            warn(_warning(text))
        try:
            data = response.read(MAX_ANSWER_BYTES + 1, decode_content=True)
        except _FAILURES as error:
            raise KubeError(0, f"{method} {path}: the response was cut off: {error}") from error
        finally:
            response.release_conn()
        if len(data) > MAX_ANSWER_BYTES:
            raise KubeError(
                0, f"{method} {path}: the response is over {MAX_ANSWER_BYTES >> 20} MiB"
            )
        if response.status >= 300:
            raise KubeError(response.status, f"{method} {path}: {_message(data)}")
        return bytes(data)

    @contextmanager
    def watch(
        self, path: str, query: Mapping[str, str], *, accept: str, read_timeout_seconds: float
    ) -> Iterator[Iterator[JsonObject]]:
        """Watch a resource; gives its events until the connection ends.

        Raises:
            KubeError: as for `request`, and if nothing arrives for too long.
        """
        headers = {"Accept": accept}
        timeout = (REQUEST_TIMEOUT_SECONDS, read_timeout_seconds)
        response = self._send("GET", path, query, headers=headers, body=None, timeout=timeout)
        try:
            if response.status >= 300:
                data = response.read(1 << 16, decode_content=True)
                raise KubeError(response.status, f"watch {path}: {_message(data)}")
            yield _events(response, path)
        finally:
            response.close()  # it may have stopped within an event, so it cannot be reused

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        *,
        headers: dict[str, str],
        body: JsonObject | None,
        timeout: float | tuple[float, float],
    ) -> Any:
        try:
            _, url, given, _, _ = self._api.param_serialize(
                method,
                quote(path, safe="/:"),
                query_params=list((query or {}).items()),
                header_params={**headers, "Accept-Encoding": "gzip"},
                auth_settings=["BearerToken"],
            )
            response = self._api.call_api(method, url, given, body, _request_timeout=timeout)
        except _FAILURES as error:
            raise KubeError(0, f"{method} {path}: {_short(error)}") from error
        return response.response


def connect() -> KubeClient:
    """Connect with the pod's service account, or else with the kubeconfig.

    Raises:
        SettingsError: neither exists, or it cannot be read.
    """
    configuration = Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException:
        try:
            config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except Exception as error:  # the library also raises its YAML library's errors
            raise SettingsError(f"no cluster: not in a pod, and {_kubeconfig(error)}") from error
    return KubeClient(configuration)


def current_namespace() -> str:
    """Return the namespace of the kubeconfig's current context; empty if it has none."""
    try:
        _, context = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
        return str(context["context"].get("namespace") or "")
    except Exception:  # a pod has no kubeconfig; the library also raises its YAML library's errors
        return ""


def _kubeconfig(error: Exception) -> str:
    """Return which kubeconfig cannot be used, and how to choose another."""
    named = os.environ.get("KUBECONFIG")
    path = named or str(Path("~/.kube/config").expanduser())
    if all(not Path(part).exists() for part in path.split(os.pathsep) if part):
        way = "" if named else "; set KUBECONFIG to use another"
        return f"there is no kubeconfig {path}{way}"
    return f"the kubeconfig {path} cannot be used: {_short(error)}"


def _events(response: Any, path: str) -> Iterator[JsonObject]:
    buffer = bytearray()
    try:
        for part in response.stream(64 << 10, decode_content=True):
            *lines, rest = part.split(b"\n")
            for line in lines:
                yield _parse(bytes(buffer + line), path)
                buffer.clear()
            buffer += rest
            if len(buffer) > MAX_EVENT_BYTES:
                raise KubeError(0, f"watch {path}: an event is over {MAX_EVENT_BYTES >> 20} MiB")
    except _FAILURES as error:
        raise KubeError(0, f"watch {path}: {_short(error)}") from error


def _parse(data: bytes, path: str) -> JsonObject:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise KubeError(0, f"{path}: the response is not JSON") from error
    if not isinstance(found, dict):
        raise KubeError(0, f"{path}: the response is not a JSON object")
    return found


def _message(data: bytes) -> str:
    try:
        status = json.loads(data)
        return str(status["message"])[:500]
    except (ValueError, KeyError, TypeError, RecursionError):
        return data[:200].decode(errors="replace").strip() or "no reason given"


def _warning(text: str) -> str:
    """Return a warning without the code and agent before it: `299 - "text"`.

    Source: RFC 7234 §5.5
    """
    return text.partition('"')[2].rpartition('"')[0].replace('\\"', '"') or text


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    untrusted = _UNTRUSTED.search(text)
    if untrusted is not None:
        return f"the API server's certificate cannot be verified: {untrusted[1].strip()}"
    refused = _REFUSED.match(text)
    if refused is None:
        return text
    return f"{refused['reason'].lower()} ({refused['host']}:{refused['port']})"
