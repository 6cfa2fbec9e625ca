import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.http.negotiation import compress, takes_gzip


@pytest.mark.parametrize(
    "header",
    ["gzip", "GZip", "deflate, gzip", "br,gzip;q=0.001", "gzip ; q=1", "gzip;q=0.5, identity;q=1"],
)
def test_gzip_is_used_for_clients_that_name_it(header: str) -> None:
    assert takes_gzip(header)


@pytest.mark.parametrize("header", ["", "identity", "br, deflate", "xgzip", "gzip2", "br;x=gzip"])
def test_gzip_is_not_used_for_clients_that_do_not_name_it(header: str) -> None:
    assert not takes_gzip(header)


@pytest.mark.parametrize(
    "header", ["gzip;q=0", "gzip;q=0.", "gzip;q=0.000", "gzip; Q=0", "gzip;\tq=0 , br"]
)
def test_a_quality_of_zero_refuses_gzip(header: str) -> None:
    assert not takes_gzip(header)


def test_a_header_is_read_up_to_its_32nd_coding() -> None:
    assert takes_gzip("a," * 31 + "gzip")
    assert not takes_gzip("a," * 32 + "gzip")


@given(header=st.text("gzip,;=q01. *\t\xff"))
def test_any_header_is_judged_and_only_one_with_gzip_admits_it(header: str) -> None:
    assert takes_gzip(header) <= ("gzip" in header)


@given(body=st.binary())
def test_a_compressed_body_is_gzip_of_the_body(body: bytes) -> None:
    assert gzip.decompress(compress(body)) == body


def test_an_exposition_becomes_smaller() -> None:
    assert len(compress(b'http_requests_total{code="200"} 1\n' * 100)) < 340
