"""A pod role within the test's own process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from sidecar.roles.pod.role import PodRole
from sidecar.roles.pod.settings import parse_pod_settings
from tests.sidecar.apps import until


@contextlib.asynccontextmanager
async def running_pod(
    *arguments: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[PodRole]:
    """Run the role on free ports; its drain must not take long."""
    given = ["--role", "pod", "--port", "0", "--admin-port", "0", *arguments]
    role = PodRole(parse_pod_settings(given, environ or {}))
    stop = asyncio.Event()
    task = asyncio.create_task(role.run(stop))
    try:
        await until(lambda: task.done() or bool(role.data_port and role.admin_port))
        yield role
    finally:
        stop.set()
        async with asyncio.timeout(4):
            await task
