import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.errors import DocumentError
from sidecar.process.documents import MAX_DEPTH, read_document, stamp

_PIECES = [
    "a", "'", '"', ": ", "- ", "\n", "  ", "[", "]", "{", "}", ", ", "&x ", "*x", "!", "!!int ",
    "!!binary ", "!!timestamp ", "!!set ", "<<: ", "? ", "| ", "> ", "%", "@", "#", "---\n", "...",
    "0x", "1:1", "1e9", "2024-01-01", "true", "null", "=", "\t", "\0", "\ufeff", "é", "\\",
]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "document"


def _read(path: Path, text: str | bytes, max_bytes: int = 10_000) -> object:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_document(path, max_bytes)


def _refusal(path: Path, text: str) -> str:
    """Return why a text is refused; empty if it is accepted."""
    try:
        _read(path, text)
    except DocumentError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("text", "document"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("a: [1, null]", {"a": [1, None]}),
        ("\ufeff---\na:\n- 1\n- ~\n", {"a": [1, None]}),
        ('{a: "yes"}', {"a": "yes"}),
        ("", None),
        ("# nothing\n", None),
        ("'text'", "text"),
    ],
)
def test_json_and_yaml_are_read(path: Path, text: str, document: object) -> None:
    assert _read(path, text) == document


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xff", "'utf-8' codec can't decode byte 0xff"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "duplicate key 'b'"),
        ('{"": 1, "": 2}', "duplicate key ''"),
        ("a:\n- b: 1\n  b: 2\n", "duplicate key 'b' in the mapping at line 2"),
        ("a: 1\n'a': 2\n", "duplicate key 'a' in the mapping at line 1"),
        ("a: [", "not YAML: expected the node content"),
        ("a: b: c", "not YAML: mapping values are not allowed here in line 1, column 5"),
        ("a: \x01", "not YAML: special characters are not allowed at character 3"),
        ("a: 2024-99-99", "not YAML: a value is invalid for its type"),
        ("a: !!int x", "not YAML: a value is invalid for its type"),
        ("9" * 5000, "not YAML: a value is invalid for its type"),
        ("a: !!python/name:os.system ''", "not YAML: unknown tag in line 1"),
        ("a: " + "1:" * 180 + "0.0", "not YAML: a value is invalid for its type"),
        ("[" * 60 + "]" * 60, "nested deeper than 50 levels"),
        ('{"a":' * 60 + "1" + "}" * 60, "nested deeper than 50 levels"),
        ("a: &x [1]\nb: *x", "aliases (*name) are not supported; write the value out"),
        ("x" * 10_001, "more than 10000 bytes"),
    ],
)
def test_a_bad_document_is_refused_with_its_path_and_a_reason(
    path: Path, text: str | bytes, reason: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        _read(path, text)
    assert str(caught.value).startswith(f"{path}: {reason}")


@pytest.mark.parametrize(
    "text", ["password: 'hunter2", "p: hunter2: x", "- hunter2\nb", '{"hunter2', "p: !hunter2"]
)
def test_an_error_does_not_show_the_line_since_it_may_hold_a_secret(path: Path, text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        _read(path, text)
    assert "hunter2" not in str(caught.value)


def test_the_size_is_bounded_to_the_byte(path: Path) -> None:
    assert _read(path, "[1, 2]", max_bytes=6) == [1, 2]
    with pytest.raises(DocumentError, match="more than 5 bytes"):
        _read(path, "[1, 2]", max_bytes=5)


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ("{a: ", "}"), ("- ", "")])
def test_yaml_is_read_to_its_depth_and_no_further(path: Path, start: str, end: str) -> None:
    _read(path, start * MAX_DEPTH + "a" + end * MAX_DEPTH)

    with pytest.raises(DocumentError, match="nested deeper than 50 levels"):
        _read(path, start * (MAX_DEPTH + 1) + "a" + end * (MAX_DEPTH + 1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.sampled_from(_PIECES), max_size=12))
def test_any_text_is_a_document_or_an_error_of_one_line(path: Path, pieces: list[str]) -> None:
    assert "\n" not in _refusal(path, "".join(pieces))


@pytest.mark.parametrize(("name", "reason"), [(".", "Is a directory"), ("none", "No such file")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(DocumentError, match=f"^{tmp_path / name}: .*{reason}"):
        read_document(tmp_path / name, 100)


def test_the_stamp_of_a_file_changes_with_its_time_and_its_size(path: Path) -> None:
    stamps = [stamp(path)]
    for text, moment in [("a", 1), ("a", 2), ("ab", 2)]:
        path.write_text(text)
        os.utime(path, (moment, moment))
        stamps.append(stamp(path))

    assert stamps == [(0, 0), (10**9, 1), (2 * 10**9, 1), (2 * 10**9, 2)]
