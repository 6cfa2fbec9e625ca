"""Inputs of commands: manifests, labels, settings, a CA."""

import argparse
import io
import sys
from pathlib import Path

import pytest

from injector.commands.inputs import (
    Offline,
    add_input_arguments,
    add_namespace,
    learn,
    parse_platform_text,
    read_all,
    read_offline,
)
from injector.errors import ManifestError, SettingsError
from injector.files.manifests import read_manifests
from injector.model.cluster.state import ClusterState
from injector.platform.settings import Platform

_PEM = "-----BEGIN CERTIFICATE-----\n"


@pytest.fixture
def offline() -> Offline:
    return Offline(Platform(), ClusterState(), "", "shop")


def _labels(offline: Offline, name: str) -> dict[str, str]:
    namespace = offline.cluster.namespace(name)
    return {} if namespace is None else dict(namespace.labels)


def _read_offline(*arguments: object) -> Offline:
    parser = argparse.ArgumentParser()
    add_input_arguments(parser)
    return read_offline(parser.parse_args([str(item) for item in arguments]))


def test_labels_of_the_command_line_go_before_those_of_a_manifest(offline: Offline) -> None:
    text = "kind: Namespace\nmetadata: {name: shop, labels: {team: a, tier: gold}}\n"
    learn(offline, read_manifests(text, "a.yaml"))
    add_namespace(offline, "shop", ["team=b", "a.b/c=", "team=c"])

    assert _labels(offline, "shop") == {"team": "c", "tier": "gold", "a.b/c": ""}


@pytest.mark.parametrize(
    "text", ["", "team", "=a", "team=a,b", "team=a b", "team=a=b", "team=a\n", "/a=b", "te am=a"]
)
def test_what_is_not_one_label_is_refused(offline: Offline, text: str) -> None:
    with pytest.raises(SettingsError, match="--namespace-label"):
        add_namespace(offline, "shop", [text])


@pytest.mark.parametrize(("given", "known"), [("", "shop"), ("bank", "bank"), ("shop", "shop")])
def test_a_limit_range_without_a_namespace_is_of_the_one_that_is_meant(
    offline: Offline, given: str, known: str
) -> None:
    text = f"kind: LimitRange\nmetadata: {{name: small, namespace: '{given}'}}\n"
    learn(offline, read_manifests(text, "a.yaml"))

    assert len(offline.cluster.in_namespace("LimitRange", known)) == 1


def test_a_malformed_object_is_named_with_its_place(offline: Offline) -> None:
    text = "kind: Pod\n---\nkind: Namespace\nmetadata: {name: shop, labels: [a]}\n"
    with pytest.raises(ManifestError, match=r"^a\.yaml:3: metadata\.labels"):
        learn(offline, read_manifests(text, "a.yaml"))


def test_files_and_standard_input_are_read_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text("kind: A\n---\nkind: B\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"kind: C\n")))
    found = read_all([str(tmp_path / "a.yaml"), "-"])

    assert [item.obj["kind"] for item in found] == ["A", "B", "C"]
    assert found[2].source == "standard input"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff", "standard input: not UTF-8"),
        (b"# nothing\n---\n", "standard input: it contains no object"),
        (b"kind: [", "standard input:2: "),
    ],
)
def test_input_that_holds_no_object_is_refused(
    monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    with pytest.raises(ManifestError, match=f"^{reason}"):
        read_all(["-"])


def test_no_file_and_one_that_is_not_there_are_a_wrong_call(tmp_path: Path) -> None:
    for filenames in ([], [str(tmp_path / "none.yaml")], [str(tmp_path)]):
        with pytest.raises(SettingsError):
            read_all(filenames)


def test_without_a_ca_proxies_are_led_nowhere(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(_PEM)
    known = _read_offline("--control-ca", tmp_path / "ca.crt", "-n", "shop")

    assert _read_offline().platform.control is None
    assert known.platform.control is not None
    assert (known.ca_bundle, known.namespace) == (_PEM, "shop")


@pytest.mark.parametrize("kind", ["", "EC ", "ENCRYPTED "])
def test_a_private_key_gets_into_no_pod(tmp_path: Path, kind: str) -> None:
    pem = f"-----BEGIN CERTIFICATE-----\n-----BEGIN {kind}PRIVATE KEY-----\n"
    (tmp_path / "both.pem").write_text(pem)
    with pytest.raises(SettingsError, match="private key"):
        _read_offline("--control-ca", tmp_path / "both.pem")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "image: {reference: a}\n---\nimage: {reference: b}\n",
            "^values: must be one YAML document, not 2",
        ),
        ("image: [", "^values:2: "),
        ("imagee: {}", "imagee"),
        ("image: {pullPolicy: Sometimes}", "image.pullPolicy"),
    ],
)
def test_settings_that_cannot_be_used_are_named(text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        parse_platform_text(text, "values")


def test_empty_settings_are_the_defaults() -> None:
    assert parse_platform_text("# nothing\n", "values") == Platform()


def test_a_file_without_a_certificate_is_refused_as_the_ca(tmp_path: Path) -> None:
    (tmp_path / "ca.der").write_text("0\x82")
    with pytest.raises(SettingsError, match="no PEM certificate"):
        _read_offline("--control-ca", tmp_path / "ca.der")


@pytest.mark.parametrize(
    "text", ["a", "=b", "a//b=c", "a/=c", "A/b=c", "a=-", "a=b-", "a=b,c=d", f"a={'x' * 64}"]
)
def test_a_label_that_kubernetes_would_refuse_is_refused(offline: Offline, text: str) -> None:
    with pytest.raises(SettingsError, match="--namespace-label"):
        add_namespace(offline, "shop", [text])
