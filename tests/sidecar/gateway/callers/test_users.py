import base64
import json
from pathlib import Path

import pytest

from sidecar.auth.users import UsersFile, hash_password
from sidecar.gateway.callers.caller import Credentials, KnownCaller
from sidecar.gateway.callers.users import Users

pytestmark = pytest.mark.anyio


def _basic(password: str) -> Credentials:
    pair = base64.b64encode(f"grafana:{password}".encode()).decode()
    return Credentials({"authorization": f"basic {pair}"}, "10.0.0.1")


async def test_a_user_is_known_by_its_password(tmp_path: Path) -> None:
    user = {"name": "grafana", "passwordHash": hash_password("pw"), "tenants": ["shop"]}
    (tmp_path / "users").write_text(json.dumps({"users": [user]}))
    users = Users(UsersFile(tmp_path / "users"))

    assert users.takes(_basic("pw"))
    assert not users.knows(_basic("pw"))
    assert await users.identify(_basic("pw")) == KnownCaller("grafana", frozenset(["shop"]))
    assert users.knows(_basic("pw"))
    assert await users.identify(_basic("other")) is None
    assert not users.knows(_basic("other"))


@pytest.mark.parametrize("header", ["", "Bearer x", "Basic"])
async def test_other_credentials_are_not_its(tmp_path: Path, header: str) -> None:
    (tmp_path / "users").write_text('{"users": []}')
    users = Users(UsersFile(tmp_path / "users"))

    assert not users.takes(Credentials({"authorization": header}, ""))
