"""Checks of the injector itself."""

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from webhook_certs.authority import create_authority, issue_leaf
from webhook_certs.stores import Generation, encode_generations

from injector.kube.api.client import KubeClient
from injector.kube.doctor.findings import Finding, Installation
from injector.kube.doctor.installation import (
    injects,
    look_at_certificates,
    look_at_injector,
    look_at_registration,
    look_at_server,
    read_arguments,
)
from tests.injector.kube.doctor.objects import INSTALLATION, Holding, Json, deployment

NOW = datetime.now(UTC)
_SECRETS = "/api/v1/namespaces/livery-system/secrets"
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
_POLICY = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies/livery"


def _look(
    holding: Holding,
    check: Callable[[KubeClient, Installation], Iterator[Finding]],
    objects: dict[str, Json],
) -> list[Finding]:
    with holding(objects) as client:
        return list(check(client, INSTALLATION))


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("minor", "is_well"), [("28", False), ("29", True), ("31+", True), ("", False)]
)
def test_an_api_server_must_be_new_enough(holding: Holding, minor: str, is_well: bool) -> None:
    (finding,) = _look(
        holding, look_at_server, {"/version": {"minor": minor, "gitVersion": "v1.x"}}
    )

    assert finding.is_well is is_well
    assert bool(finding.remedy) is not is_well


@pytest.mark.parametrize(
    ("objects", "is_well", "words"),
    [
        (deployment(ready=2), True, "2 of 2 injectors"),
        (deployment(ready=1), False, "1 of 2 injectors"),
        (deployment(ready=0), False, "0 of 2 injectors"),
        ({}, False, "no Deployment livery-system/livery-injector"),
        ({_POLICY: {}}, True, "no injector is needed"),
    ],
)
def test_an_injector_is_needed_unless_a_policy_injects(
    holding: Holding, objects: dict[str, Json], is_well: bool, words: str
) -> None:
    (finding,) = _look(holding, look_at_injector, objects)

    assert finding.is_well is is_well
    assert words in finding.sentence


@pytest.mark.parametrize(("days", "is_well"), [(3650, True), (60, False)])
def test_a_ca_that_ends_soon_is_a_problem(holding: Holding, days: int, is_well: bool) -> None:
    authority = create_authority("livery", NOW, timedelta(days=days, hours=1))
    text = _encode(encode_generations((Generation(authority),)))
    secret: Json = {"metadata": {"resourceVersion": "1"}, "data": {"authorities.json": text}}
    objects = {**deployment("--ca-secret=own"), f"{_SECRETS}/own": secret}
    (finding,) = _look(holding, look_at_certificates, objects)

    assert (finding.is_well, finding.sentence) == (is_well, f"the CA expires in {days} days")


@pytest.mark.parametrize(("days", "is_well"), [(30, True), (2, False)])
def test_a_provided_certificate_that_nobody_renews_is_a_problem(
    holding: Holding, days: int, is_well: bool
) -> None:
    authority = create_authority("theirs", NOW)
    name = "livery-injector.livery-system.svc"
    leaf = issue_leaf(authority, [name], NOW, lifetime=timedelta(days=days, hours=1))
    texts = {"tls.crt": leaf.chain_pem, "tls.key": leaf.key_pem}
    texts["ca.crt"] = authority.certificate_pem
    secret: Json = {"data": {key: _encode(text) for key, text in texts.items()}}
    objects = {**deployment("--certificate-secret=theirs"), f"{_SECRETS}/theirs": secret}
    (finding,) = _look(holding, look_at_certificates, objects)

    assert finding.is_well is is_well
    assert f"expires in {days} d" in finding.sentence


@pytest.mark.parametrize("is_published", [True, False])
def test_the_webhook_must_have_the_ca_that_is_provided(
    holding: Holding, is_published: bool
) -> None:
    pem = create_authority("theirs", NOW).certificate_pem
    hooks = [{"clientConfig": {"caBundle": _encode(pem) if is_published else ""}}]
    objects: dict[str, Json] = {
        **deployment("--certificate-secret=theirs", "--webhook-configuration=livery"),
        f"{_SECRETS}/theirs": {"data": {"ca.crt": _encode(f"# theirs\n{pem.rstrip()}")}},
        f"{_WEBHOOKS}/livery": {"webhooks": hooks},
    }
    (finding,) = _look(holding, look_at_registration, objects)

    assert finding.is_well is is_published


def test_a_registration_that_is_gone_is_put_back_by_an_upgrade(holding: Holding) -> None:
    for arguments in (["--webhook-configuration=livery"], ["--policy-secret=livery"]):
        (finding,) = _look(holding, look_at_registration, deployment(*arguments))

        assert finding.sentence.endswith("is missing")
        assert finding.remedy == INSTALLATION.reapply()


@pytest.mark.parametrize(
    ("objects", "injected"),
    [
        (deployment("--webhook-configuration=livery"), True),
        (deployment("--webhook-configuration="), False),
        (deployment("--policy-secret=livery"), False),
        ({**deployment("--policy-secret=livery"), _POLICY: {}}, True),
        ({}, False),
    ],
)
def test_pods_are_tried_only_where_something_injects(
    holding: Holding, objects: dict[str, Json], injected: bool
) -> None:
    with holding(objects) as client:
        assert injects(client, INSTALLATION) is injected


def test_arguments_are_read_by_name() -> None:
    (found,) = deployment("--cluster", "--names=a=b", "serve").values()

    assert read_arguments(found) == {"cluster": "", "names": "a=b"}
    assert read_arguments(None) is None
