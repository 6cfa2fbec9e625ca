import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from injector.commands import sources
from injector.commands.sources import read_sources
from injector.errors import SettingsError
from injector.files.manifests import MAX_FILE_BYTES
from tests.injector.commands.test_inject import POD
from tests.injector.conftest import Livery


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/to-ftp":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/pod.yaml")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path in {"/short", "/drip"}:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for byte in POD.encode()[: 40 if self.path == "/drip" else None]:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05 if self.path == "/drip" else 0)
            return
        bodies = {
            "/pod.yaml": POD.encode(),
            "/latin": b"\xe9",
            "/huge": b" " * (MAX_FILE_BYTES + 1),
        }
        body = bodies.get(self.path, b"")
        self.send_response(200 if self.path in bodies else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_folder_gives_its_manifests_in_order(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "c.json", "README.md"):
        (tmp_path / name).write_text(name)
    (tmp_path / "deeper.yaml").mkdir()

    assert [text for _, text in read_sources(str(tmp_path))] == ["a.yaml", "b.yml", "c.json"]


def test_names_of_every_script_are_read(tmp_path: Path) -> None:
    for name in ("متجر.yaml", "商店.yaml"):
        (tmp_path / name).write_text(name)
        assert list(read_sources(str(tmp_path / name))) == [(str(tmp_path / name), name)]


def test_a_folder_without_manifests_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"the folder contains no .yaml, .yml or .json file"):
        list(read_sources(str(tmp_path)))


def test_line_ends_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: 1\r\n")

    assert [text for _, text in read_sources(str(tmp_path / "a.yaml"))] == ["a: 1\r\n"]


def test_a_url_is_read(livery: Livery, server: str) -> None:
    ran = livery("explain", "pod", "-f", f"{server}/pod.yaml")

    assert ran.code == 0, ran.err
    assert ran.out.startswith("Pod default/web\n")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/none", "the server answered 404 Not Found"),
        ("/latin", "not UTF-8"),
        ("/huge", "larger than 16 MiB"),
    ],
)
def test_a_url_that_cannot_be_used_is_named(
    livery: Livery, server: str, path: str, reason: str
) -> None:
    ran = livery("inject", "-f", f"{server}{path}")

    assert ran.code in {1, 2}
    assert ran.out == ""
    assert f"{server}{path}: " in ran.err
    assert reason in ran.err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/pod.yaml", "http://[", "https://a b/"])
def test_a_server_that_is_not_there_is_one_sentence(livery: Livery, url: str) -> None:
    ran = livery("inject", "-f", url)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"livery: {url}: ")
    assert "Errno" not in ran.err
    assert len(ran.err.splitlines()) == 1


def test_an_empty_name_is_not_the_folder_that_one_is_in() -> None:
    with pytest.raises(SettingsError, match="the name of a file is empty"):
        list(read_sources(""))


def test_a_file_has_a_bound() -> None:
    with pytest.raises(SettingsError, match="/dev/zero: larger than 16 MiB"):
        list(read_sources("/dev/zero"))


def test_a_redirect_leads_to_no_other_scheme(livery: Livery, server: str) -> None:
    ran = livery("inject", "-f", f"{server}/to-ftp")

    assert (ran.code, ran.out) == (2, "")
    assert "unknown url type: ftp" in ran.err


def test_a_download_that_breaks_off_is_not_used(livery: Livery, server: str) -> None:
    ran = livery("inject", "-f", f"{server}/short")

    assert (ran.code, ran.out) == (2, "")
    assert "the answer is incomplete" in ran.err


def test_a_download_that_trickles_is_given_up(
    livery: Livery, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_TIMEOUT_SECONDS", 0.5)

    ran = livery("inject", "-f", f"{server}/drip")

    assert (ran.code, ran.out) == (2, "")
    assert "not complete within 0.5 s" in ran.err


def test_a_password_in_a_url_is_refused_and_not_shown(livery: Livery) -> None:
    ran = livery("inject", "-f", "http://me:geheim@127.0.0.1/pod.yaml")

    assert (ran.code, ran.out) == (2, "")
    assert "geheim" not in ran.err
