import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from sidecar.__main__ import find_role, main
from tests.sidecar.apps import App, connected, get, http, until
from tests.sidecar.processes import ROOT, running_proxy

pytestmark = pytest.mark.anyio


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sidecar", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=10
    )


def _get(port: int, path: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_proxy_that_is_told_to_end_while_it_starts_ends() -> None:
    # It sends itself SIGTERM at the first slow import.
    code = """
import builtins, os, signal
from sidecar.__main__ import main
load = builtins.__import__
def watched(name, *given):
    if name == "asyncio":
        os.kill(os.getpid(), signal.SIGTERM)
    return load(name, *given)
builtins.__import__ = watched
main(["--role", "pod"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=20)

    assert done.returncode == 0


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--role", "pod", "--help"]])
def test_help_shows_examples(arguments: list[str]) -> None:
    done = _run(*arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert "examples:\n  livery-proxy --role pod --target" in done.stdout


def test_a_gateway_whose_port_is_busy_says_so_and_ends() -> None:
    examples = ROOT / "examples" / "gateway"
    files = [f"--policy={examples / 'tenants.yaml'}", f"--users={examples / 'users.yaml'}"]
    with socket.create_server(("", 0)) as taken:
        port = f"--port={taken.getsockname()[1]}"
        done = _run("--role=gateway", "--backend=http://localhost:1", *files, port)

    assert done.returncode == 2
    assert "is in use: choose another with --port" in done.stderr


def test_the_version_is_told() -> None:
    assert _run("--version").stdout.startswith("livery-proxy ")


@pytest.mark.parametrize("arguments", [[], ["--target", "http://:80/"], ["what"]])
def test_without_a_role_the_proxy_says_so_and_ends(arguments: list[str]) -> None:
    done = _run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("livery-proxy: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [("--what",), ("--target", "x"), ("--role", "x"), ("--filter=x",), ("--policy", "/no/such")],
)
def test_with_a_role_no_argument_ends_the_proxy(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with running_proxy(*arguments, log=tmp_path / "log") as proxy:
        status, reason = _get(proxy.port(), "/metrics")

        ready, said = _get(proxy.port("admin"), "/readyz")
        assert (status, ready, reason.count("\n")) == (503, 503, 1)
        assert said.splitlines()[0] == f"setting: {reason.rstrip()}"
        assert proxy.stop() == 0


def test_help_lists_all_roles() -> None:
    lines = _run("--help").stdout.partition("roles:\n")[2].partition("\n\n")[0].splitlines()

    assert [line.split()[0] for line in lines] == ["pod", "node", "aggregate", "gateway"]


@pytest.mark.parametrize("arguments", [[], ["--port", "1"]])
@pytest.mark.parametrize(
    ("role", "reason"),
    [
        ("what", "--role 'what': not a role"),
        ("../pod", "--role '../pod': not a role"),
        ("", "--role '': not a role"),
    ],
)
def test_what_is_no_role_is_refused_in_one_sentence(
    arguments: list[str], role: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--role", role]) == 2

    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err.endswith("pod, node, aggregate, gateway\n")) == ("", 1, True)
    assert err.startswith(f"livery-proxy: {reason}; ")


@pytest.mark.parametrize("role", ["pod", "node"])
def test_the_role_may_be_joined_to_its_argument(role: str) -> None:
    done = _run(f"--role={role}", "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: livery-proxy --role {role} ")


@pytest.mark.parametrize(
    ("arguments", "role"),
    [
        (["--role", "pod"], "pod"),
        (["--port", "1", "--role=node"], "node"),
        (["--role=pod", "--role=node"], "pod"),
        (["--role"], ""),
        (["--role="], ""),
        (["--roles=pod", "--rol", "pod"], None),
    ],
)
def test_the_role_is_found_among_other_arguments(arguments: list[str], role: str | None) -> None:
    assert find_role(arguments) == role


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_scrape_in_flight_finish(
    tmp_path: Path, number: signal.Signals
) -> None:
    gate = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.write(http(b"a 1\n"))

    async with App(answer) as app:
        with running_proxy("--target", app.target, log=tmp_path / "log") as proxy:
            async with connected(proxy.port()) as client, connected(proxy.port()) as idle:
                await client.send(b"GET /metrics HTTP/1.1\r\n\r\n")
                await until(lambda: bool(app.requests))
                proxy.process.send_signal(number)

                assert await idle.is_closed()
                gate.set()
                assert (await client.reply()).body == b"a 1\n"
            assert await asyncio.to_thread(proxy.process.wait, 10) == 0


async def test_a_port_that_is_busy_at_the_start_is_taken_later(tmp_path: Path) -> None:
    async with App(http(b"a 1\n")) as app:
        with socket.create_server(("", 0)) as taken:
            port = taken.getsockname()[1]
            with running_proxy(
                "--target", app.target, "--port", str(port), log=tmp_path / "log"
            ) as proxy:
                admin = await asyncio.to_thread(proxy.port, "admin")
                ready = await get(admin, "/readyz")
                taken.close()

                assert await asyncio.to_thread(proxy.port) == port
                assert (await get(port)).body == b"a 1\n"
                assert (await get(admin, "/readyz")).status == 200
    assert ready.text.startswith(f"port: cannot listen on port {port}: ")


def test_logs_are_one_json_object_a_line(tmp_path: Path) -> None:
    with running_proxy("--what", log=tmp_path / "log") as proxy:
        proxy.port()
        proxy.stop()

    entries = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {"level", "time", "msg", "logger"} <= set(entries[0])
    assert entries[-1]["msg"] == "stopping; finishing requests in flight"


async def test_it_works_without_docstrings_as_in_the_image(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "labels: {team: blue}\nmetricRelabelings: [{regex: secret, action: labeldrop}]\n"
    )
    async with App(http(b'a{secret="x"} 1\n')) as app:
        arguments = ("--target", app.target, "--policy", str(policy))
        environ = {"PYTHONOPTIMIZE": "2"}
        with running_proxy(*arguments, log=tmp_path / "log", environ=environ) as proxy:
            reply = await asyncio.to_thread(_get, proxy.port(), "/metrics")

            assert reply == (200, 'a{team="blue"} 1\n')
            assert await asyncio.to_thread(proxy.stop) == 0


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("hash-pasword", "did you mean hash-password?"),
        ("chek", "did you mean check?"),
        ("serve", "there are check and hash-password."),
    ],
)
def test_a_command_that_does_not_exist_is_named_with_the_nearest(
    capsys: pytest.CaptureFixture[str], name: str, proposed: str
) -> None:
    assert main([name]) == 2
    said = capsys.readouterr().err
    assert said == f"livery-proxy: {name!r} is not a command; {proposed} See livery-proxy --help\n"
