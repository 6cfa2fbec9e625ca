"""A TCP proxy in front of the API server, with which a test slows or cuts the network."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from injector.kube.api.client import KubeClient
from tests.real_parts.kubernetes import ApiServer


class CutConnections:
    """Forwards bytes; `cut` ends and refuses connections, `seconds_each_part` slows them."""

    def __init__(self, api_server: ApiServer) -> None:
        self._api_server = api_server
        self._target = urlsplit(api_server.url).port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        self.seconds_each_part = 0.0
        self.connections = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        self.cut()

    def client(self) -> KubeClient:
        """Return a client that connects as the administrator through this proxy."""
        url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        direct = self._api_server
        # The library rereads the file: an address set elsewhere would be overwritten.
        kubeconfig = direct.kubeconfig.with_name(f"kubeconfig-{url.rpartition(':')[2]}")
        kubeconfig.write_text(direct.kubeconfig.read_text().replace(direct.url, url))
        return replace(direct, url=url, kubeconfig=kubeconfig).client()

    def cut(self) -> None:
        """End open connections, and refuse new ones."""
        self._is_cut = True
        with self._lock:
            ended, self._open = self._open, set()
        for side in ended:
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()

    def mend(self) -> None:
        """Accept connections again."""
        self._is_cut = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                if self._is_cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                with self._lock:
                    self._open |= {near, far}
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536 if not self.seconds_each_part else 512):
                time.sleep(self.seconds_each_part)
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)
