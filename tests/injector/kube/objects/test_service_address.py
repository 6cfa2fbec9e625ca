"""The control service's address, read from a scripted server."""

import asyncio
import json

import pytest

from injector.kube.objects import service_address
from injector.kube.objects.service_address import ServiceAddress
from tests.injector.kube.servers import misbehaving


@pytest.mark.parametrize(
    ("spec", "address"), [({"clusterIP": "10.0.0.1"}, "10.0.0.1"), ({"clusterIP": "None"}, "")]
)
def test_a_headless_service_has_no_address(spec: dict[str, str], address: str) -> None:
    with misbehaving(lambda path, query: (200, json.dumps({"spec": spec}).encode())) as client:
        assert ServiceAddress(client, "livery-system", "livery").read() == address


def test_a_service_made_anew_is_followed_and_an_api_server_that_is_away_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service_address, "LOOK_SECONDS", 0.01)
    answers = [b"10.0.0.1", b"", b"10.0.0.1", b"10.0.0.2"]

    def answer(path: str, query: object) -> tuple[int, bytes]:
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        if not address:
            return 500, b"{}"
        return 200, json.dumps({"spec": {"clusterIP": address.decode()}}).encode()

    async def body() -> list[str]:
        seen: list[str] = []
        with misbehaving(answer) as client:
            service = ServiceAddress(client, "livery-system", "livery")
            service.read()
            task = asyncio.create_task(service.follow(seen.append))
            async with asyncio.timeout(20):
                while not seen:
                    await asyncio.sleep(0.01)
            task.cancel()
        return seen

    assert asyncio.run(body()) == ["10.0.0.2"]
