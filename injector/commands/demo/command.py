"""`livery demo`: inject, label and re-expose on one machine, without a cluster."""

import argparse
import asyncio
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from injector.commands.colours import BOLD, CYAN, DIM, GREEN, paint
from injector.commands.demo.forwarding import (
    TENANT,
    by_hand,
    look_until_there,
    start_forwarding,
)
from injector.commands.demo.gateway import QUERY, ask_until_answered, start_gateway
from injector.commands.demo.prometheus import query_link, start_prometheus
from injector.commands.demo.stage import START_SECONDS, Actor, Stage, read_metrics
from injector.errors import DemoError, SettingsError
from injector.web.status.view import Hint
from sidecar.errors import LiveryError
from sidecar.process.help_format import HelpFormatter
from sidecar.process.logs import configure_logs

EXAMPLES = """examples:
  livery demo --once     run all steps and exit
  livery demo            run until Ctrl-C; edit a namespace's labels and see the next scrape
"""
_PODS = ("shop.yaml", "bank.yaml")
_BROKEN_POD = "cart.yaml"
_PACKAGED = Path(__file__).parent / "world"
_IN_A_CLONE = Path(__file__).parents[3] / "examples" / "demo"
_LOOK_SECONDS = 0.05
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def add_parsers(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "demo",
        help="try Livery on this machine, without a cluster",
        description="Send two teams' pods through the real webhook, run their proxies as the "
        "injected containers specify, scrape them, change a namespace's label, scrape again. "
        "Without --once, and with prometheus on PATH, a Prometheus is started that discovers the "
        "proxies; each team queries it through a gateway and sees only its own series; and one "
        "team's series are also sent to a Prometheus of its own.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--once", action="store_true", help="run all steps and exit")
    parser.add_argument(
        "--manifests",
        type=Path,
        metavar="DIR",
        help="a folder like examples/demo (the default); it is copied, not changed",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Run the demo."""
    manifests = given.manifests or (_PACKAGED if _PACKAGED.is_dir() else _IN_A_CLONE)
    if not all((manifests / pod).is_file() for pod in _PODS):
        raise SettingsError(f"{manifests} is not a demo's folder: it has no {' and '.join(_PODS)}")
    configure_logs("error")
    folder = Path(tempfile.mkdtemp(prefix="livery-demo-"))
    try:
        return asyncio.run(_run(folder, manifests, once=given.once))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _run(folder: Path, manifests: Path, *, once: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        shown = asyncio.create_task(_show(stack, folder, manifests, once=once))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({shown, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not shown.done():
            print("\nStopping the demo's processes ...", flush=True)
            shown.cancel()
        with suppress(asyncio.CancelledError):
            await shown
    return 0


async def _show(stack: AsyncExitStack, folder: Path, manifests: Path, *, once: bool) -> None:
    stage = Stage(folder, manifests, stack)
    stage.start_injector()
    service = stage.service
    _step(
        "1",
        f"the injector: webhook on port {service.ports[0]}, control service on "
        f"{service.ports[1]}, TLS; status page http://localhost:{service.status_port}",
    )
    actors = [await stage.start_pod(pod) for pod in _PODS]
    broken = None
    if (manifests / _BROKEN_POD).is_file():
        broken = await stage.start_pod(_BROKEN_POD, has_app=False)
    await _introduce(actors, broken)
    if once:
        await _relabel_and_show(stage, actors[0])
        print(paint("\nDone. Nothing is left behind.", GREEN))
    else:
        prometheus = await start_prometheus(actors, folder / "prometheus", stack)
        if prometheus is not None:
            await _ask_as_tenants(stage, actors, prometheus, stack)
            await _send_to_one(stage, folder / "receiver", stack)
        await _stay(stage, actors, prometheus)


async def _introduce(actors: Sequence[Actor], broken: Actor | None) -> None:
    shop, *others = actors
    _step("2", f"applications serve metrics on ports {', '.join(str(a.app_port) for a in actors)}")
    took = shop.review_seconds * 1000
    _step("3", f"pod shop/web-0 went through the webhook ({took:.0f} ms with TLS):")
    for operation in shop.operations:
        print(f"      {operation['op']:8}{operation['path']}")
    for other in others:
        print(f"      and so did {other.namespace}/{other.name}")
    ports = ", ".join(f"{actor.namespace} on port {actor.proxy_port}" for actor in actors)
    _step("4", f"their proxies run as the injected containers specify: {ports}")
    if broken is not None:
        await read_metrics(broken.proxy_port)  # the proxy notices at its first scrape
        print(
            f"      {broken.namespace}/{broken.name} fails on purpose: nothing listens on port "
            f"{broken.app_port}, and the status page says so"
        )
    _step("5", "what the applications expose, and what Prometheus scrapes:")
    for actor in actors:
        before, after = await read_metrics(actor.app_port), await read_metrics(actor.proxy_port)
        for line in [line for line in before.splitlines() if line.startswith("http_requests")][:3]:
            name = line.rsplit(" ", 1)[0].removesuffix("}")
            worn = next(item for item in after.splitlines() if item.startswith(name))
            print(f"      {paint(line, DIM)}\n   -> {_highlight(worn)}")


async def _ask_as_tenants(
    stage: Stage, actors: Sequence[Actor], prometheus: str, stack: AsyncExitStack
) -> None:
    tenants = [actor.namespace for actor in actors]
    gateway = await start_gateway(stage, prometheus, tenants, stack)
    _step("6", f"a gateway in front of Prometheus: each tenant queries {QUERY}")
    for tenant, lines in (await ask_until_answered(gateway, tenants)).items():
        for line in lines or ["no answer yet"]:
            print(f"      {tenant:8}-> {_highlight(line)}")
        print(f"      {paint(gateway.by_hand(tenant), DIM)}")


async def _send_to_one(stage: Stage, folder: Path, stack: AsyncExitStack) -> None:
    address = await start_forwarding(stage, folder, stack)
    _step("7", f"{TENANT}'s own Prometheus, to which its proxy sends; the series that it has:")
    for line in await look_until_there(address) or ["nothing yet"]:
        print(f"      {_highlight(line)}")
    print(f"      {paint(by_hand(address), DIM)}")


async def _relabel_and_show(stage: Stage, actor: Actor) -> None:
    text = stage.namespaces_file.read_text()
    stage.namespaces_file.write_text(text.replace("team: frontend", "team: backend"))
    started = time.perf_counter()
    _step("6", "kubectl label namespace shop team=backend --overwrite (here: a file edit)")
    while 'team="backend"' not in (metrics := await read_metrics(actor.proxy_port)):
        if time.perf_counter() - started > START_SECONDS:
            raise DemoError("the new label did not reach the series in time")
        await asyncio.sleep(0.01)
    took = (time.perf_counter() - started) * 1000
    _step("7", f"shop: team frontend → backend, on its series after {took:.0f} ms:")
    for line in [item for item in metrics.splitlines() if item.startswith("http_requests")]:
        print(f"   -> {_highlight(line)}")


async def _stay(stage: Stage, actors: Sequence[Actor], prometheus: str | None) -> None:
    shown = [_series(await read_metrics(actor.proxy_port)) for actor in actors]
    _invite(stage, actors, prometheus)
    while True:
        for index, actor in enumerate(actors):
            with suppress(LiveryError):
                series = _series(await read_metrics(actor.proxy_port))
                if shown[index] != series:
                    took = (time.time() - stage.namespaces_file.stat().st_mtime) * 1000
                    changes = _changes(shown[index], series)
                    print(f"{actor.namespace}: {changes}, on its series after {took:.0f} ms")
                    print(f"   -> {_highlight(series)}", flush=True)
                shown[index] = series
        await asyncio.sleep(_LOOK_SECONDS)


def _invite(stage: Stage, actors: Sequence[Actor], prometheus: str | None) -> None:
    hints = stage.service.sources.hints
    hints.append(
        Hint(
            "This is the demo. Edit a label of a namespace, such as shop's team, and see this page "
            "and the terminal change:",
            code=str(stage.namespaces_file),
        )
    )
    print(
        f"\n{paint('Now you:', BOLD)} open http://localhost:{stage.service.status_port}\n"
        f"and edit a label of a namespace, such as shop's team, in\n    {stage.namespaces_file}\n"
        "The page and this terminal show the labels of the next scrape. To scrape by hand:"
    )
    for actor in actors:
        print(f"    curl -s localhost:{actor.proxy_port}/metrics     # {actor.namespace}")
    if prometheus is None:
        print("(With prometheus on PATH, the demo would start it and show the series there.)")
    else:
        link = query_link(prometheus)
        hints.append(Hint("Prometheus found the proxies by annotations. Watch series change teams:",
                          code="requests by team", link=link))  # fmt: skip
        print(f"Prometheus shows series changing teams:\n    {link}")
    print("Ctrl-C ends the demo.", flush=True)
    stage.service.journal.ring()


def _step(number: str, text: str) -> None:
    print(f"{paint(f'[{number}]', BOLD)} {text}", flush=True)


def _series(metrics: str) -> str:
    """Return the first request counter's name and labels; empty if there is none."""
    lines = metrics.splitlines()
    line = next((item for item in lines if item.startswith("http_requests_total")), "")
    return line.rsplit(" ", 1)[0]


def _changes(before: str, after: str) -> str:
    """Describe how the labels of a series changed, such as `team frontend → backend`."""
    was, now = dict(_LABEL.findall(before)), dict(_LABEL.findall(after))
    return ", ".join(
        f"{name} {was.get(name, '(none)')} → {now.get(name, '(none)')}"
        for name in {**was, **now}
        if was.get(name) != now.get(name)
    )


def _highlight(line: str) -> str:
    for name in ("team=", "cost_center="):
        start = line.find(name)
        if start >= 0:
            end = line.find('"', line.find('"', start) + 1) + 1
            line = line[:start] + paint(line[start:end], CYAN) + line[end:]
    return line
