"""Polls the injector's other replicas, found by EndpointSlices, for the proxies they know.

Source: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import urllib3

from injector.control.peers import MAX_BYTES, read_proxies
from injector.control.proxies import Proxies, Proxy
from injector.control.reports import Pod
from injector.errors import InjectorError, ReplicaError
from injector.kube.api.client import JsonObject, KubeClient
from injector.model.cluster.objects import get_list, get_mapping, get_text

logger = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
TIMEOUT_SECONDS = 5.0
"""For connecting, and between two parts of a response."""
ANSWER_SECONDS = 20.0
MAX_LINE_BYTES = 8 << 20
"""Limit for one line; the first one lists every stream."""
_MAX_REPLICAS = 32
_PORT = "control"


class ReplicaSettings(NamedTuple):
    """How replicas find and authenticate one another."""

    service: str
    """The injector's Service; its service account has the same name."""
    token_file: Path
    """A token for the control service that authenticates this replica."""
    own_name: str
    """Name of this replica's pod."""


class Replica(NamedTuple):
    """Another replica."""

    name: str
    address: str
    port: int


class Replicas:
    """Polls the other replicas."""

    def __init__(self, client: KubeClient, namespace: str, settings: ReplicaSettings) -> None:
        self._client = client
        self._settings = settings
        self._path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        # Separate threads: a replica that hangs must not block those that use the API server.
        self._threads = ThreadPoolExecutor(_MAX_REPLICAS, "replica")
        self._server_name = f"{settings.service}.{namespace}.svc"

    async def follow(self, trust: Callable[[], str], proxies: Proxies) -> None:
        """Keep what the other replicas know up to date, until cancelled.

        Args:
            trust: returns the CAs that sign every replica's certificate, PEM.
            proxies: receives what they report.
        """
        asking: dict[str, asyncio.Task[None]] = {}
        while True:
            try:
                replicas = await asyncio.to_thread(self.find)
            except InjectorError as error:
                logger.info("the replicas cannot be listed", extra={"reason": str(error)})
                proxies.lose_all(str(error))
            else:
                proxies.keep_only({replica.name for replica in replicas})
                context = ssl.create_default_context(cadata=trust())
                for replica in replicas:
                    # A slow replica must not delay requests to the others.
                    if replica.name not in asking or asking[replica.name].done():
                        ask = self._ask(replica, context, proxies)
                        asking[replica.name] = asyncio.create_task(ask)
            await asyncio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """Wait for running requests, and send no more; blocks."""
        self._threads.shutdown()

    def find(self) -> list[Replica]:
        """List the other replicas that have an address; blocks.

        Raises:
            KubeError: the request failed.
            ObjectError: an EndpointSlice is malformed.
        """
        query = {"labelSelector": f"kubernetes.io/service-name={self._settings.service}"}
        found = self._client.request("GET", self._path, query=query).get("items") or ()
        replicas = {item.name: item for endpoints in found for item in _replicas(endpoints)}
        replicas.pop(self._settings.own_name, None)
        return sorted(replicas.values())[:_MAX_REPLICAS]

    async def _ask(self, replica: Replica, context: ssl.SSLContext, proxies: Proxies) -> None:
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._fetch, replica, context)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                said = await asyncio.shield(work)
        except TimeoutError:
            proxies.lose(replica.name, f"no complete response within {ANSWER_SECONDS:g} s")
            # A thread cannot be cancelled: until it ends, this replica is not queried again.
            await asyncio.wait([work])
            work.exception()
        except (urllib3.exceptions.HTTPError, ReplicaError, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            logger.info(
                "a replica cannot be queried", extra={"replica": replica.name, "reason": reason}
            )
            proxies.lose(replica.name, reason)
        else:
            proxies.take(replica.name, said)

    def _fetch(self, replica: Replica, context: ssl.SSLContext) -> dict[Pod, Proxy]:
        token = self._settings.token_file.read_text().strip()
        with urllib3.HTTPSConnectionPool(
            replica.address,
            replica.port,
            timeout=TIMEOUT_SECONDS,
            retries=False,
            ssl_context=context,
            assert_hostname=self._server_name,
            server_hostname=self._server_name,
        ) as pool:
            headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
            ask = pool.request("GET", "/v1/reports", headers=headers, preload_content=False)
            with closing(ask) as response:
                if response.status != 200:
                    reason = response.read(200).decode(errors="replace").strip()
                    raise ReplicaError(f"it answered {response.status}: {reason}")
                return read_proxies(_lines(response), time.time)


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    if response.headers.get("Content-Encoding"):
        raise ReplicaError("its response has an unrequested content encoding")
    end = time.monotonic() + ANSWER_SECONDS
    pieces: list[bytes] = []
    taken = begun = 0
    for part in response.stream(64 << 10, decode_content=False):
        taken += len(part)
        if taken > 2 * MAX_BYTES or begun > MAX_LINE_BYTES or time.monotonic() > end:
            raise ReplicaError("its response is too long or takes too long")
        first, *others = part.split(b"\n")
        pieces.append(first)
        begun += len(first)
        if others:
            yield b"".join(pieces)
            yield from others[:-1]
            pieces, begun = [others[-1]], len(others[-1])


def _replicas(endpoint_slice: JsonObject) -> Iterator[Replica]:
    ports = [
        port["port"]
        for port in get_list(endpoint_slice, "ports")
        if port.get("name") == _PORT and isinstance(port.get("port"), int)
    ]
    for endpoint in get_list(endpoint_slice, "endpoints"):
        pod = get_text(get_mapping(endpoint, "targetRef"), "name")
        addresses = endpoint.get("addresses")
        if pod and ports and isinstance(addresses, list) and addresses:
            yield Replica(pod, str(addresses[0]), ports[0])
