"""Stores of CAs: complete, one writer at a time, readable by the owner only."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webhook_certs.authority import Authority
from webhook_certs.errors import CertificateError, ConflictError
from webhook_certs.stores import (
    FILE_NAME,
    FolderStore,
    Generation,
    decode_generations,
    encode_generations,
)

OLD = Generation(Authority("old certificate", "old key"))
NEW = Generation(Authority("new certificate", "new key"), "crossed")
_TEXT = st.text(max_size=9)
_GENERATIONS = st.lists(
    st.builds(Generation, st.builds(Authority, _TEXT, _TEXT), _TEXT), max_size=3
).map(tuple)


@given(_GENERATIONS)
def test_what_is_written_is_read_back(generations: tuple[Generation, ...]) -> None:
    assert decode_generations(encode_generations(generations), "here") == generations


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"generations": null}',
        '{"generations": {}}',
        '{"generations": ""}',
        '{"generations": 5}',
        '{"generations": [[]]}',
        '{"generations": [{"certificate": "a", "key": "b"}]}',
        '{"generations": [{"certificate": "a", "key": null, "crossSigned": ""}]}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:60],
)
def test_something_else_is_refused_by_its_place(text: str) -> None:
    with pytest.raises(CertificateError, match=r"^here does not contain valid CAs"):
        decode_generations(text, "here")


def test_a_folder_that_is_not_there_holds_none_and_is_made(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "a" / "b")
    assert store.load() == ((), "")
    kept = store.save((OLD,), "")

    assert store.load() == kept
    assert FolderStore(tmp_path / "a" / "b").load().generations == (OLD,)


def test_only_who_saw_the_last_change_may_change(tmp_path: Path) -> None:
    first, second = FolderStore(tmp_path), FolderStore(tmp_path)
    seen = first.load()
    kept = second.save((OLD,), seen.version)
    with pytest.raises(ConflictError, match=FILE_NAME):
        first.save((NEW,), seen.version)
    assert first.load().generations == (OLD,)

    assert first.save((OLD, NEW), kept.version).generations == (OLD, NEW)


def test_secrets_are_the_owners_only_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "certs")
    kept = store.save((OLD,), "")
    store.save((OLD, NEW), kept.version)
    files = {path.name: path for path in (tmp_path / "certs").iterdir()}

    assert set(files) == {FILE_NAME, "authorities.lock"}
    assert files[FILE_NAME].stat().st_mode & 0o077 == 0
    assert (tmp_path / "certs").stat().st_mode & 0o077 == 0
    assert "key" not in files["authorities.lock"].read_text()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", json.dumps({"a": 1}).encode()])
def test_a_damaged_file_is_never_written_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    store = FolderStore(tmp_path)
    for act in (store.load, lambda: store.save((OLD,), "")):
        with pytest.raises(CertificateError, match=FILE_NAME):
            act()
    assert (tmp_path / FILE_NAME).read_bytes() == content


def test_a_folder_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FolderStore(tmp_path / "file")
    for act in (store.load, lambda: store.save((OLD,), "")):
        with pytest.raises(CertificateError, match=r"file/authorities\.json"):
            act()
