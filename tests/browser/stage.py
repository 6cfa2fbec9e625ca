"""An injector with a status page, in a separate thread, on a cluster folder that can be edited."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from injector.app.service import Service, ServiceSettings
from injector.control.journal import Reviewed
from injector.files.backend import folder_backend
from injector.model.policies.scope import Scope
from injector.platform.settings import Platform

UP = {"url": "http://:8080/metrics", "up": True, "error": "", "samples": 120}
DOWN = {"url": "http://:9102/metrics", "up": False, "samples": 0,
        "error": "connection refused on port 9102 (127.0.0.1, ::1, 10.0.0.7)"}  # fmt: skip


class Stage:
    """A running injector."""

    def __init__(self, service: Service, cluster: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.service = service
        self._cluster = cluster
        self._loop = loop
        self._streams = contextlib.ExitStack()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.service.status_port}/"

    def write(self, name: str, text: str) -> None:
        """Write a file of the cluster folder, as an editor would."""
        (self._cluster / name).write_text(text)

    def label(self, namespace: str, **labels: str) -> None:
        pairs = ", ".join(f"{name}: {value!r}" for name, value in labels.items())
        inject = f"livery.dev/inject: enabled, {pairs}"
        self.write(
            f"{namespace}.yaml",
            "apiVersion: v1\nkind: Namespace\n"
            f"metadata: {{name: {namespace}, labels: {{{inject}}}}}\n",
        )

    def report(self, namespace: str, pod: str, **fields: Any) -> None:
        """Store a report of a proxy, as the control service does."""
        report = {
            "role": "pod", "proxyVersion": "0.1.0", "policyVersion": "9f2c4a1b", "targets": [UP],
            "policyAgeSeconds": 12.0, "samples": 120, "residentBytes": 29_400_000, **fields,
        }  # fmt: skip

        def put() -> None:
            self.service.control.reports.put((namespace, pod), report)
            self.service.journal.ring()

        self._loop.call_soon_threadsafe(put)

    def connect(self, namespace: str, pod: str) -> str:
        """Open a proxy's policy stream; return the version that is published to it."""
        hub, key = self.service.hub, (namespace, pod)

        async def enter() -> str:
            self._streams.enter_context(hub.open(Scope("pod", namespace), "", key))
            self.service.journal.ring()
            return hub.published_versions()[key]

        return asyncio.run_coroutine_threadsafe(enter(), self._loop).result(10)

    def review(self, review: Reviewed) -> None:
        self._loop.call_soon_threadsafe(self.service.journal.add, review)


@contextlib.contextmanager
def running_stage(folder: Path) -> Iterator[Stage]:
    """Run an injector with a status page until the end."""
    cluster = folder / "world"
    cluster.mkdir()
    (folder / "tokens").mkdir()
    settings = ServiceSettings(
        names=("livery-injector.livery-system.svc",),
        host="127.0.0.1",
        admission_port=0,
        control_port=0,
        metrics_port=0,
        status_port=0,
    )
    service = Service(
        settings, Platform(), folder_backend(cluster, folder / "tokens", folder / "certs")
    )
    service.open()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(service.run(stop),))
    thread.start()
    try:
        yield Stage(service, cluster, loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()
