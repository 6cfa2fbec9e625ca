import pytest

from sidecar.errors import SettingsError
from sidecar.model.passed_headers import parse_passed_headers


def test_names_are_read_in_lower_case_each_once() -> None:
    text = "Authorization, X-Scope-OrgID,,authorization "

    assert parse_passed_headers(text) == ("authorization", "x-scope-orgid")


def test_without_names_nothing_is_passed_on() -> None:
    assert parse_passed_headers("") == ()


@pytest.mark.parametrize(
    "name",
    [
        "Host", "Accept", "Accept-Encoding", "Content-Length", "Connection", "Transfer-Encoding",
        "X-Prometheus-Scrape-Timeout-Seconds", "Upgrade", "TE", "User-Agent", "Proxy-Authorization",
    ],
)  # fmt: skip
def test_what_the_proxy_says_itself_cannot_be_passed_on(name: str) -> None:
    with pytest.raises(SettingsError, match=f"'{name.lower()}' cannot be passed on"):
        parse_passed_headers(name)


@pytest.mark.parametrize("text", ["a b", "a:b", "a\r\nb: c", "é", "x" * 5000, "a;b"])
def test_what_is_not_a_name_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a valid header name") as caught:
        parse_passed_headers(text)
    assert len(str(caught.value)) < 120


def test_the_number_of_names_is_bounded() -> None:
    with pytest.raises(SettingsError, match="17 headers; at most 16"):
        parse_passed_headers(",".join(f"x-{number}" for number in range(17)))
