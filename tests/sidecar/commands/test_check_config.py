import io
from pathlib import Path

import pytest
import yaml

from sidecar.commands.check_config import check_config
from tests.sidecar.processes import ROOT


def _check(path: Path) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return check_config(path, out, err), out.getvalue(), err.getvalue()


def test_what_is_printed_are_values_of_the_chart() -> None:
    code, out, err = _check(ROOT / "examples" / "gateway" / "multi-tenant-proxy.yaml")

    assert (code, err) == (0, "")
    assert yaml.safe_load(out)["gateway"] == {
        "enabled": True,
        "backends": {
            "discovery": [
                {
                    "kind": "Pod",
                    "namespaces": ["monitoring"],
                    "labelSelector": "app.kubernetes.io/name=prometheus",
                    "port": "9090",
                }
            ],
            "timeoutSeconds": 30,
        },
        "limits": {"maxConcurrentRequests": 100},
        "logLevel": "info",
    }
    assert "#   proxy.enable_caching: responses are not cached" in out


def test_a_file_that_names_no_backend_says_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("proxy: {listen_address: ':9999'}")
    code, out, _ = _check(tmp_path / "config")

    assert code == 0
    assert yaml.safe_load(out)["gateway"]["backends"] == {"static": []}
    assert "# The file has none" in out
    assert "without the chart, --port 9999" in out


@pytest.mark.parametrize("text", ["proxy: {cache: true}", "["])
def test_what_cannot_be_read_is_named_on_stderr(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    code, out, err = _check(tmp_path / "config")

    assert (code, out) == (1, "")
    assert err.startswith(f"livery-proxy: {tmp_path / 'config'}: ")
