import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import TargetError
from sidecar.model.targets import (
    MAX_PATH_BYTES,
    Target,
    check_path,
    parse_port,
    parse_raw_target,
    parse_target,
    split_targets,
)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("http://127.0.0.1:8080/metrics", Target("", "http", "127.0.0.1", 8080, "/metrics")),
        ("app=http://:8080/metrics", Target("app", "http", "", 8080, "/metrics")),
        ("app=https://:8443", Target("app", "https", "", 8443, "/metrics")),
        ("http://localhost/a?b=c&d=e", Target("", "http", "localhost", 80, "/a?b=c&d=e")),
        ("https://[::1]/x", Target("", "https", "[::1]", 443, "/x")),
        ("HTTP://:1/", Target("", "http", "", 1, "/")),
    ],
    ids=["address", "pod", "default-path", "default-port", "ipv6", "scheme-case"],
)
def test_a_target_is_read_as_written(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        "/metrics",
        "ftp://:8080/",
        "http://:0/",
        "http://:65536/",
        "http://:015020/",
        "http://:8080@evil.example/x",
        "http://user:pass@127.0.0.1:80/",
        "http://:8080/a b",
        "http://:8080/a\r\nX-Evil: 1",
        "http://:8080/\x00",
        "http://:8080/é",
        "http://:8080/" + "a" * 10_000,
        "APP=http://:8080/",
        "http://evil.example:8080/metrics",
        "http://169.254.169.254/latest",
        "http://127.0.0.1.evil.example/",
    ],
    ids=repr,
)
def test_a_bad_target_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_target(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_remote_target_needs_to_be_allowed() -> None:
    text = "http://app.example:8080/metrics"
    assert parse_target(text, allows_remote=True).host == "app.example"


def test_a_named_port_stays_a_name_until_it_is_resolved() -> None:
    assert parse_raw_target("app=http://:http-metrics/m").port == "http-metrics"


@pytest.mark.parametrize("path", ["metrics", "@evil.example/x", "?x", "/a b", "/a\n"], ids=repr)
def test_a_bad_path_is_refused(path: str) -> None:
    with pytest.raises(TargetError, match="path"):
        check_path(path)


def test_two_slashes_are_a_path_of_the_same_host() -> None:
    assert check_path("//evil.example") == "//evil.example"


def test_the_longest_path_is_allowed_and_one_more_is_not() -> None:
    assert check_path("/" + "a" * (MAX_PATH_BYTES - 1))
    with pytest.raises(TargetError, match=str(MAX_PATH_BYTES)):
        check_path("/" + "a" * MAX_PATH_BYTES)


def test_a_list_is_divided_at_commas_and_an_encoded_comma_stays() -> None:
    text = "a=http://:1/x%2Cy, b=http://:2/,"
    assert split_targets(text) == ["a=http://:1/x,y", "b=http://:2/"]


def test_more_targets_than_allowed_are_refused() -> None:
    with pytest.raises(TargetError, match="17 targets"):
        split_targets(",".join(["http://:1/"] * 17))


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_an_error(text: str) -> None:
    try:
        target = parse_target(text)
    except TargetError:
        assert not re.fullmatch(r"http://(127\.0\.0\.1)?(:80)?(/[a-z]*)?", text)
        return
    assert target.path.startswith("/")
    assert 0 < target.port < 65536


@given(st.integers(1, 65535))
def test_a_port_is_read_back(port: int) -> None:
    assert parse_port(str(port)) == port


@given(st.integers(1, 65535), st.sampled_from(["http", "https"]))
def test_a_target_is_written_as_it_is_read(port: int, scheme: str) -> None:
    target = Target("app", scheme, "", port, "/metrics?x=1")
    assert parse_target(str(target)) == target
