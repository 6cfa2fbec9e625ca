import json
from pathlib import Path

import pytest

from tests.injector.conftest import Livery


@pytest.mark.parametrize("action", ["show", "check", "renew"])
def test_where_there_is_no_ca_none_is_made(livery: Livery, tmp_path: Path, action: str) -> None:
    ran = livery("certs", action, "--dir", tmp_path / "certs")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"livery: there is no CA in {tmp_path / 'certs'}; create one with livery certs create\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_ca_is_made_once_and_its_bundle_written(livery: Livery, tmp_path: Path) -> None:
    first = livery("certs", "create", "--dir", tmp_path)
    bundle = (tmp_path / "ca.crt").read_text()
    second = livery("certs", "create", "--dir", tmp_path)

    assert (first.code, second.code) == (0, 0)
    assert f"its bundle is in {tmp_path / 'ca.crt'}" in first.out
    assert bundle.count("BEGIN CERTIFICATE") == 1
    assert (tmp_path / "ca.crt").read_text() == bundle
    assert "PRIVATE KEY" not in bundle


def test_a_ca_is_shown_with_its_life(livery: Livery, tmp_path: Path) -> None:
    livery("certs", "create", "--dir", tmp_path)

    lines = livery("certs", "show", "--dir", tmp_path).out.splitlines()

    assert lines[0].startswith("CA 1 of 1: CN=")
    assert lines[2].endswith("days left)")
    assert lines[3].endswith("by itself")


def test_a_renewed_ca_is_vouched_for_by_the_one_before(livery: Livery, tmp_path: Path) -> None:
    livery("certs", "create", "--dir", tmp_path)

    renewed = livery("certs", "renew", "--dir", tmp_path)
    shown = livery("certs", "show", "--dir", tmp_path).out

    assert renewed.code == 0
    assert "CA 2 of 2" in shown
    assert "by the preceding CA" in shown
    assert (tmp_path / "ca.crt").read_text().count("BEGIN CERTIFICATE") == 2


def test_a_check_verifies_each_name_in_a_handshake(livery: Livery, tmp_path: Path) -> None:
    livery("certs", "create", "--dir", tmp_path)

    ran = livery("certs", "check", "--dir", tmp_path, "--name", "localhost", "--name", "127.0.0.1")

    assert ran.code == 0
    assert ran.out == "localhost: verified\n127.0.0.1: verified\n"


def test_a_damaged_ca_is_an_error_that_names_the_file(livery: Livery, tmp_path: Path) -> None:
    livery("certs", "create", "--dir", tmp_path)
    for path in tmp_path.iterdir():
        path.write_text("damaged")

    ran = livery("certs", "check", "--dir", tmp_path)

    assert ran.code == 1
    assert str(tmp_path) in ran.err


@pytest.mark.parametrize("action", ["show", "check"])
def test_a_program_gets_a_document(livery: Livery, tmp_path: Path, action: str) -> None:
    livery("certs", "create", "--dir", tmp_path)

    facts = json.loads(livery("certs", action, "--dir", tmp_path, "-o", "json").out)

    if action == "show":
        (authority,) = facts["authorities"]
        assert authority["isCrossSigned"] is False
        assert authority["daysLeft"] > 3000
    else:
        assert [(item["ok"], item["reason"]) for item in facts["names"]] == [(True, "")]
