"""The demo's Prometheus, if it is installed: it discovers proxies as annotated pods."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlencode

from injector.commands.demo.stage import Actor, end_process, free_port

QUERY = "sum by (team) (rate(http_requests_total[15s]))"
# The scrape job for annotated pods that most installations have, but with pods read from a file.
_CONFIG = """\
global: {scrape_interval: 1s}
scrape_configs:
  - job_name: kubernetes-pods
    file_sd_configs:
      - files: [pods.json]
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape]
        action: keep
        regex: "true"
      - source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path]
        action: replace
        target_label: __metrics_path__
        regex: (.+)
      - source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port]
        action: replace
        regex: ([^:]+)(?::\\d+)?;(\\d+)
        replacement: $1:$2
        target_label: __address__
      - source_labels: [__meta_kubernetes_namespace]
        target_label: namespace
      - source_labels: [__meta_kubernetes_pod_name]
        target_label: pod
"""


async def start_prometheus(
    actors: Sequence[Actor], folder: Path, stack: AsyncExitStack
) -> str | None:
    """Start Prometheus for the pods; return its URL, None if it is not installed.

    Args:
        actors: the pods, as the API server would list them after admission.
        folder: for its configuration and data.
        stack: stops it on exit.
    """
    program = shutil.which("prometheus")
    if program is None:
        return None
    _configure(folder, actors)
    return await _start(program, folder, stack)


async def start_receiver(folder: Path, stack: AsyncExitStack) -> str:
    """Start a Prometheus that only receives remote write; return its URL.

    Args:
        folder: for its configuration and data.
        stack: stops it on exit.
    """
    _write_config(folder, "global: {}\n")
    program = shutil.which("prometheus") or "prometheus"
    return await _start(program, folder, stack, "--web.enable-remote-write-receiver")


async def _start(program: str, folder: Path, stack: AsyncExitStack, *flags: str) -> str:
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            *flags,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    stack.push_async_callback(end_process, process)
    return f"http://{address}"


def _configure(folder: Path, actors: Sequence[Actor]) -> None:
    _write_config(folder, _CONFIG)
    (folder / "pods.json").write_text(json.dumps([_discover(actor) for actor in actors]))


def _write_config(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "prometheus.yml").write_text(text)


def query_link(address: str) -> str:
    """Return the URL of the query that shows series changing teams."""
    fields = {"g0.expr": QUERY, "g0.tab": "0", "g0.range_input": "5m"}
    return f"{address}/graph?{urlencode(fields)}"


def _discover(actor: Actor) -> dict[str, object]:
    """Describe a pod as Prometheus's pod discovery does."""
    annotations = {
        f"__meta_kubernetes_pod_annotation_{_sanitize(name)}": value
        for name, value in actor.annotations.items()
        if name.startswith("prometheus.io/")
    }
    meta = {
        "__meta_kubernetes_namespace": actor.namespace,
        "__meta_kubernetes_pod_name": actor.name,
        "__meta_kubernetes_pod_ip": "127.0.0.1",
    }
    return {"targets": ["127.0.0.1"], "labels": {**meta, **annotations}}


def _sanitize(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name)
