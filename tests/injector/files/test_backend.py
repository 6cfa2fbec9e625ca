"""The injector's backend on a folder."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from injector.control.backend import Backend
from injector.files.backend import folder_backend

_NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: a}}\n"


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "a.yaml").write_text(_NAMESPACE)
    (tmp_path / "tokens" / "shop").mkdir(parents=True)
    (tmp_path / "tokens" / "shop" / "web-0").write_text("secret")
    return folder_backend(tmp_path / "world", tmp_path / "tokens", tmp_path / "certs")


def test_its_source_fills_its_cluster_and_its_tokens_name_pods(backend: Backend) -> None:
    backend.source.open()
    namespace = backend.cluster.namespace("shop")

    assert namespace is not None
    assert namespace.labels == {"team": "a"}
    assert asyncio.run(backend.authenticator.authenticate("secret", "1.2.3.4")).pod == "web-0"


def test_two_issuers_share_the_ca_in_its_folder(backend: Backend, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    bundles = {backend.issuer(["localhost"]).issue(now).bundle_pem for _ in range(2)}

    assert len(bundles) == 1
    assert (tmp_path / "certs" / "authorities.json").exists()


def test_nothing_is_asked_of_an_api_server(backend: Backend) -> None:
    assert (backend.reviewer, backend.publisher) == (None, None)
