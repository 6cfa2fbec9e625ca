"""Resident memory of a real proxy under a hostile application and hostile clients.

The container's limit is 128 MiB by default: beyond it, the kernel kills the proxy, and its pod
becomes unready. The combined effect of the modules' limits is only visible in a whole process, so
these tests run a hostile application and read the peak resident memory.
"""

import asyncio
import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.sidecar.apps import OPENMETRICS, Act, App, connected, get, http
from tests.sidecar.cgroups import memory_cgroup
from tests.sidecar.processes import Proxy, running_proxy

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="VmHWM is Linux's"),
]

_LIMIT_MIB = 120
"""The rest of the container's 128 MiB is for the kernel and for future releases."""
_RUNS = itertools.count()


async def _new_series(writer: asyncio.StreamWriter, count: int, padding: int) -> None:
    start, end = b'requests_total{run="%d",path="' % next(_RUNS), b"x" * padding + b'"} 1\n'
    for first in range(0, count, 5_000):
        lines = (b"%b%d%b" % (start, number, end) for number in range(first, first + 5_000))
        writer.write(b"".join(lines))
        await writer.drain()


def _without_length(write: Callable[[asyncio.StreamWriter], object]) -> Act:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await write(writer)  # type: ignore[misc]
        writer.close()

    return answer


async def _many(writer: asyncio.StreamWriter) -> None:
    await _new_series(writer, 1_000_000, 0)


async def _large(writer: asyncio.StreamWriter) -> None:
    await _new_series(writer, 50_000, 130)


async def _long_labels(writer: asyncio.StreamWriter) -> None:
    labels = ",".join(f'label_{number}="{"v" * 100}"' for number in range(63))
    run = next(_RUNS)
    lines = (f'm{{i="{run}_{number}",{labels}}} 1\n' for number in range(1_450))
    writer.write("".join(lines).encode())
    await writer.drain()


async def _read_slowly(port: int, number: int, headers: bytes) -> None:
    request = b"GET /metrics?%d HTTP/1.1\r\n%bConnection: close\r\n\r\n" % (number, headers)
    async with connected(port, limit=4096) as client:
        await client.send(request)
        for _ in range(15):
            if not await client.reader.read(8192):
                return
            await asyncio.sleep(0.05)


async def _scrape(proxy: Proxy, times: int = 3) -> list[int]:
    port = await asyncio.to_thread(proxy.port)
    headers = {"Connection": "close", "X-Prometheus-Scrape-Timeout-Seconds": "120"}
    answers = [await get(port, **headers) for _ in range(times)]
    print(*(answer.body[:200] for answer in answers if answer.status != 200))
    return [answer.status for answer in answers]


def _peak_mib(proxy: Proxy) -> float:
    peak = proxy.peak_mib()
    print(f"{peak:.0f} MiB of {_LIMIT_MIB}")
    return peak


async def test_a_million_new_series_a_scrape(tmp_path: Path) -> None:
    async with App(_without_length(_many)) as app:
        with running_proxy("--target", app.target, log=tmp_path / "log") as proxy:
            assert await _scrape(proxy) == [502] * 3
            assert _peak_mib(proxy) < _LIMIT_MIB


@pytest.mark.parametrize(
    ("headers", "numbers"),
    [(b"", range(8)), (b"", [0] * 8), (b"Accept-Encoding: gzip\r\n", [0] * 8)],
    ids=["many-scrapes", "one-scrape", "one-scrape-gzip"],
)
async def test_new_series_and_clients_that_read_slowly(
    tmp_path: Path, headers: bytes, numbers: Sequence[int]
) -> None:
    async with App(_without_length(_large)) as app:
        with running_proxy("--target", app.target, log=tmp_path / "log") as proxy:
            port = await asyncio.to_thread(proxy.port)
            await asyncio.gather(*(_read_slowly(port, item, headers) for item in numbers))

            assert await _scrape(proxy, 1) == [200]
            assert _peak_mib(proxy) < _LIMIT_MIB


async def test_three_targets_that_use_up_the_bytes_of_a_scrape(tmp_path: Path) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        await _new_series(writer, 40_000, 130)

    apps = [App(_without_length(write)) for _ in range(3)]
    async with apps[0], apps[1], apps[2]:
        targets = [f"--target=t{index}={app.target}" for index, app in enumerate(apps)]
        with running_proxy(*targets, log=tmp_path / "log") as proxy:
            await _scrape(proxy)
            assert _peak_mib(proxy) < _LIMIT_MIB


async def test_many_targets_and_a_policy_that_multiplies_their_bytes(tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"labels": {f"team{n}": "x" * 63 for n in range(100)}}))
    body = b"".join(b'a{i="%d"} 1\n' % number for number in range(2_800))
    async with App(http(body)) as app:
        targets = [f"--target=t{index}={app.target}" for index in range(16)]
        arguments = ("--policy", str(policy), *targets)
        with running_proxy(*arguments, log=tmp_path / "log") as proxy:
            await _scrape(proxy)
            assert _peak_mib(proxy) < _LIMIT_MIB


async def test_long_labels_of_the_application_and_of_the_policy(tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"labels": {f"team{n}": "x" * 63 for n in range(100)}}))
    arguments = ("--policy", str(policy))
    async with App(_without_length(_long_labels)) as app:
        with running_proxy("--target", app.target, *arguments, log=tmp_path / "log") as proxy:
            assert await _scrape(proxy) == [200] * 3
            assert _peak_mib(proxy) < _LIMIT_MIB


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"a 1\n" * 2_500_000 + b"# EOF\n", OPENMETRICS),
        (b"\n" * 10_000_000, "text/plain"),
        (b"#\n" * 90_000 + b"".join(b'a{i="%d"} 1\n#\n' % i for i in range(9_000)), "text/plain"),
        (b"a{" + b",".join(b'l%d=""' % i for i in range(800_000)) + b"} 1\n", "text/plain"),
    ],
    ids=["openmetrics", "blank-lines", "comments", "one-series"],
)
async def test_a_body_of_small_pieces(tmp_path: Path, body: bytes, kind: str) -> None:
    async with App(http(body, kind)) as app:
        with running_proxy("--target", app.target, log=tmp_path / "log") as proxy:
            await _scrape(proxy)
            assert _peak_mib(proxy) < _LIMIT_MIB


async def test_clients_that_hang_up_while_rules_are_applied(tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    rules = [
        {"sourceLabels": ["path"], "regex": "(.+)x", "targetLabel": f"l{n}"} for n in range(30)
    ]
    policy.write_text(json.dumps({"metricRelabelings": rules}))
    body = b"".join(b'a{path="%d%b"} 1\n' % (number, b"x" * 150) for number in range(40_000))
    request = b"GET /metrics HTTP/1.1\r\nX-Prometheus-Scrape-Timeout-Seconds: 120\r\n\r\n"
    async with App(http(body)) as app:
        arguments = ("--policy", str(policy), "--target", app.target)
        with running_proxy(*arguments, log=tmp_path / "log") as proxy:
            port = await asyncio.to_thread(proxy.port)
            for _ in range(15):
                async with connected(port) as client:
                    await client.send(request)
                    await asyncio.sleep(0.2)
            assert _peak_mib(proxy) < _LIMIT_MIB


def _families(count: int, padding: int, name: str = "m%05d%s") -> bytes:
    names = [name % (number, "y" * padding) for number in range(count)]
    if names and not names[0].isascii():
        names = [f'"{item}"' for item in names]
        series = [f"{{{item}}}" for item in names]
    else:
        series = names
    rows = zip(names, series, strict=True)
    return "".join(f"# HELP {n} h\n# TYPE {n} gauge\n{s} 1\n" for n, s in rows).encode()


@pytest.mark.parametrize(
    ("targets", "count", "padding"),
    [(1, 49_900, 0), (1, 49_900, 35), (3, 49_900, 20), (3, 16_000, 60)],
)
async def test_as_many_families_as_samples_in_one_scrape(
    tmp_path: Path, targets: int, count: int, padding: int
) -> None:
    apps = [App(http(_families(count, padding))) for _ in range(targets)]
    async with contextlib.AsyncExitStack() as stack:
        for app in apps:
            await stack.enter_async_context(app)
        given = [f"--target=t{index}={app.target}" for index, app in enumerate(apps)]
        with running_proxy(*given, log=tmp_path / "log") as proxy:
            assert await _scrape(proxy) == [200] * 3
            assert _peak_mib(proxy) < _LIMIT_MIB


async def test_the_kernel_ends_no_proxy_in_a_container_of_the_default_size(tmp_path: Path) -> None:
    apps = [App(http(_families(49_900, 20))) for _ in range(3)]
    async with contextlib.AsyncExitStack() as stack:
        for app in apps:
            await stack.enter_async_context(app)
        given = [f"--target=t{index}={app.target}" for index, app in enumerate(apps)]
        cgroup = stack.enter_context(memory_cgroup(128 << 20))
        with running_proxy(*given, log=tmp_path / "log", procs=cgroup.procs) as proxy:
            assert await _scrape(proxy, 5) == [200] * 5
            assert str(proxy.process.pid) in cgroup.procs.read_text().split()
            assert cgroup.kills() == 0


async def test_names_that_grow_when_they_are_escaped(tmp_path: Path) -> None:
    body = _families(30_000, 20, "\u00e9.%05d%s")
    accept = "text/plain;version=1.0.0;escaping=values"
    async with App(http(body)) as app:
        with running_proxy("--target", app.target, log=tmp_path / "log") as proxy:
            port = await asyncio.to_thread(proxy.port)
            for _ in range(3):
                assert (await get(port, Accept=accept)).status == 200
            assert _peak_mib(proxy) < _LIMIT_MIB


async def test_rules_that_double_a_long_label_again_and_again(tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    rules = [
        {"action": "labelmap", "regex": "(.+)", "replacement": f"l{number}_$1"}
        for number in range(7)
    ]
    policy.write_text(json.dumps({"metricRelabelings": rules}))
    body = b"".join(b'a{i="%d",b="%b"} 1\n' % (number, b"x" * 240_000) for number in range(40))
    async with App(http(body)) as app:
        arguments = ("--policy", str(policy), "--target", app.target)
        with running_proxy(*arguments, log=tmp_path / "log") as proxy:
            assert await _scrape(proxy) == [502] * 3
            assert _peak_mib(proxy) < _LIMIT_MIB
