from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from injector.model.admission.targets import FoundTargets, declared_ports, find_targets

_POD: dict[str, Any] = {
    "spec": {
        "containers": [
            {"name": "web", "ports": [{"name": "http", "containerPort": 8080}, {"name": "odd"}]},
            {"name": "db", "ports": [{"name": "tls", "containerPort": 9443}]},
        ],
        "initContainers": [
            {"name": "setup", "ports": [{"name": "early", "containerPort": 7000}]},
            {"name": "agent", "restartPolicy": "Always", "ports": [{"containerPort": 9100}]},
        ],
    }
}


def _find(**scrape: str) -> FoundTargets:
    return find_targets(_POD, {}, scrape)


def _list(text: str) -> FoundTargets:
    return find_targets(_POD, {"livery.dev/targets": text}, {})


def _texts(found: FoundTargets) -> list[str]:
    return [str(target) for target in found.targets]


@pytest.mark.parametrize(
    ("scrape", "target"),
    [
        ({"port": "8080"}, "web=http://:8080/metrics"),
        ({"port": "9443", "scheme": "https"}, "db=https://:9443/metrics"),
        ({"port": "9100"}, "agent=http://:9100/metrics"),
        ({"port": "tls", "scheme": "HTTPS"}, "db=https://:9443/metrics"),
        ({"port": "65535", "path": "/a?b=c,d"}, "web=http://:65535/a?b=c,d"),
    ],
)
def test_annotations_name_one_target(scrape: dict[str, str], target: str) -> None:
    assert _texts(_find(**scrape)) == [target]


@pytest.mark.parametrize(
    "scrape",
    [
        *({"port": port} for port in ("0", "015020", "65536", "99999999", "²", "-1",
                                      "1e3", "nope", "odd", "early", "x" * 10_000, "80 80")),
        *({"port": "80", "path": path} for path in ("/a b", "a b", "/\r\nHost: x", "/é",
                                                      "/" + "x" * 10_000)),
        *({"port": "80", "scheme": scheme} for scheme in ("ftp", "http://", "file", "httpſ",
                                                            "x" * 10_000)),
    ],
    ids=lambda scrape: ascii(scrape)[:60],
)  # fmt: skip
def test_annotations_that_cannot_be_scraped_are_one_warning(scrape: dict[str, str]) -> None:
    found = _find(**scrape)

    assert found.targets == ()
    assert [len(str(warning)) <= 256 for warning in found.warnings] == [True]


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("web=http://:http/m", ["web=http://:8080/m"]),
        ("http://:tls", ["db=http://:9443/metrics"]),
        ("web=https://", ["web=https://:443/metrics"]),
        (" web=http://:1 ,, db=http://:2 ,", ["web=http://:1/metrics", "db=http://:2/metrics"]),
        ("web=http://:1/a%2Cb%2c?x=%20%2C", ["web=http://:1/a,b,?x=%20,"]),
        ("agent=http://:9100", ["agent=http://:9100/metrics"]),
        (
            "web=http://:1,web=http://:1/b,web=http://:1/c,web=http://:2",
            ["web=http://:1/metrics", "web-1=http://:1/b", "web-1-2=http://:1/c",
             "web-2=http://:2/metrics"],
        ),
    ],
)  # fmt: skip
def test_a_list_names_targets(text: str, targets: list[str]) -> None:
    assert _list(text) == (_list(text).targets, ())
    assert _texts(_list(text)) == targets


@pytest.mark.parametrize(
    "bad",
    ["@evil.example/x", "//", "web", "web=", "web=//:80", "web=ftp://:80", "gone=http://:80",
     "setup=http://:80", "web=http://:tls", "web=http://evil.example:80/x", "web=http://[::1]:80",
     "web=http://localhost:80", "web=http://127.0.0.1:80", "web=http://user@:80/", "WEB=http://:80",
     "web=http://:0", "web=http://:015020", "web=http://:65536", "web=http://:²", "web=http://:80#x",
     "web=http://:80/a b", "web=http://:80/\r\nx", "web=http://:80/" + "x" * 10_000, "x" * 10_000],
    ids=lambda text: ascii(text)[:40],
)  # fmt: skip
def test_a_bad_target_of_a_list_costs_no_other(bad: str) -> None:
    found = _list(f"db=http://:1,{bad},web=http://:2")

    assert _texts(found) == ["db=http://:1/metrics", "web=http://:2/metrics"]
    assert [warning.code for warning in found.warnings] == ["bad-target"]


@pytest.mark.parametrize("text", ["", ",", " , ", ",".join(["http://:1"] * 17)])
def test_a_list_of_none_or_too_many_is_one_warning(text: str) -> None:
    assert _list(text).targets == ()
    assert len(_list(text).warnings) == 1


@given(st.text(max_size=50) | st.from_regex(r"(web|db)?=?https?://:[0-9a-z]{0,6}/?.{0,9}"))
def test_no_text_raises_and_targets_have_different_names(text: str) -> None:
    found = _list(f"{text},{text},{text}")
    names = [target.name for target in found.targets]

    assert len(set(names)) == len(names)
    assert all(target.host == "" and 0 < target.port < 65536 for target in found.targets)


def test_declared_ports_are_those_of_all_containers() -> None:
    assert declared_ports(_POD) == {8080, 9443, 7000, 9100}


@pytest.mark.parametrize(
    ("scrape", "target"),
    [
        ({"port": " 8080 "}, "web=http://:8080/metrics"),
        ({"port": "\t80 "}, "web=http://:80/metrics"),
        ({"port": "80", "path": "metrics"}, "web=http://:80/metrics"),
        ({"port": "80", "path": " /m "}, "web=http://:80/m"),
        ({"port": "80", "path": "@evil.example/x"}, "web=http://:80/@evil.example/x"),
        ({"port": "80", "path": "http://evil.example/"}, "web=http://:80/http://evil.example/"),
    ],
)  # fmt: skip
def test_blanks_are_trimmed_and_a_missing_slash_is_added(
    scrape: dict[str, str], target: str
) -> None:
    assert [str(item) for item in _find(**scrape).targets] == [target]


_NONE = {"spec": {"containers": [{"name": "web"}]}}


@pytest.mark.parametrize(
    "scrape",
    [{}, {"port": " "}, {"port": "", "scheme": "", "path": ""}],
)
def test_without_a_port_all_declared_ones_of_what_runs_are_taken(scrape: dict[str, str]) -> None:
    found = _find(**scrape)

    assert _texts(found) == [
        "web=http://:8080/metrics", "db=http://:9443/metrics", "agent=http://:9100/metrics",
    ]  # fmt: skip
    assert all(target.is_guess for target in found.targets)
    assert [warning.code for warning in found.warnings] == ["guessed-targets"]
    assert _texts(find_targets(_NONE, {}, scrape)) == ["web=http://:80/metrics"]


@pytest.mark.parametrize("name", ["metrics", "http-metrics", "prom", "prometheus-2"])
def test_of_several_declared_ports_the_one_for_metrics_is_taken(name: str) -> None:
    ports = [{"containerPort": 1}, {"containerPort": 2, "name": name}, {"containerPort": 3}]
    found = find_targets({"spec": {"containers": [{"name": "web", "ports": ports}]}}, {}, {})

    assert _texts(found) == ["web=http://:2/metrics"]
    assert found.warnings == ()
    assert not found.targets[0].is_guess


@pytest.mark.parametrize(
    "port",
    [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 0}, {"containerPort": True},
     {"containerPort": 65536}, {"containerPort": "9"}, {"name": "metrics"}],
)  # fmt: skip
def test_what_cannot_be_scraped_is_no_guess(port: dict[str, Any]) -> None:
    spec = {"containers": [{"name": "web", "ports": [port]}]}

    assert _texts(find_targets({"spec": spec}, {}, {})) == ["web=http://:80/metrics"]


def test_more_ports_than_targets_may_be_are_named() -> None:
    ports = [{"containerPort": 8000 + at} for at in range(20)]
    found = find_targets({"spec": {"containers": [{"name": "web", "ports": ports}]}}, {}, {})

    assert len(found.targets) == 16
    assert "and not the other 4" in str(found.warnings[0])


@pytest.mark.parametrize("scrape", [{"scheme": "ftp"}, {"path": "/a b"}])
def test_a_guess_with_a_wrong_path_or_scheme_is_one_warning(scrape: dict[str, str]) -> None:
    found = _find(**scrape)

    assert found.targets == ()
    assert [warning.code for warning in found.warnings] == ["bad-target"]
