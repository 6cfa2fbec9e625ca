"""The demo's kubelet: it starts an injected container as a process.

Command, arguments, environment and token file are as the container specifies. Two things are
replaced: the container's file system is a folder of the demo, and its image is this installation.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidecar.process.ports import LISTEN_ADDRESS

_POD_IP = "127.0.0.1"


async def start_container(
    pod: Mapping[str, Any], container: Mapping[str, Any], root: Path, tokens: Mapping[str, str]
) -> asyncio.subprocess.Process:
    """Start a container of a pod.

    Args:
        pod: the pod as admitted.
        container: one of its containers.
        root: the folder that replaces the container's file system.
        tokens: tokens by audience, as the TokenRequest API would issue them.
    """
    _mount_volumes(pod, container, root, tokens)
    command = [_expand(part) for part in (*container["command"], *container["args"])]
    if command[0] == "livery-proxy":
        command = [sys.executable, "-m", "sidecar", *command[1:]]
    return await asyncio.create_subprocess_exec(
        *command,
        env=_environment(pod, container, root),
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C must not reach the container
    )


def _mount_volumes(
    pod: Mapping[str, Any], container: Mapping[str, Any], root: Path, tokens: Mapping[str, str]
) -> None:
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        folder = root / mount["mountPath"].lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        for source in volumes[mount["name"]].get("projected", {}).get("sources", []):
            token = source.get("serviceAccountToken")
            if token is not None:
                path = folder / token["path"]
                path.write_text(tokens[token["audience"]])
                path.chmod(0o400)


def _environment(
    pod: Mapping[str, Any], container: Mapping[str, Any], root: Path
) -> dict[str, str]:
    fields = {
        "metadata.name": pod["metadata"].get("name", ""),
        "metadata.namespace": pod["metadata"].get("namespace", ""),
        "status.podIP": _POD_IP,
    }
    # What an image provides: the paths of programs, and where Python finds this installation.
    environment = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    environment[LISTEN_ADDRESS] = _POD_IP  # not reachable from the network
    for item in container.get("env", []):
        reference = item.get("valueFrom", {}).get("fieldRef")
        value = fields[reference["fieldPath"]] if reference else item.get("value", "")
        value = _expand(value)
        if item["name"] == "LIVERY_TOKEN_FILE":
            value = str(root / value.lstrip("/"))
        environment[item["name"]] = value
    return environment


def _expand(text: str) -> str:
    """Expand `$$` as the kubelet does; the proxy's container refers to no variables."""
    return text.replace("$$", "$")
