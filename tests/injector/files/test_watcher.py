"""The cluster state from a folder: files are added, changed, broken and removed."""

import os
from pathlib import Path

import pytest

from injector.files import watcher
from injector.files.watcher import FolderSource
from injector.model.cluster.state import ClusterState

NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels: {team: %s}
"""


@pytest.fixture
def cluster() -> ClusterState:
    return ClusterState()


def write(path: Path, text: str) -> None:
    """Write a file with a stamp that differs from every earlier one."""
    path.write_text(text)
    times = [path.stat().st_mtime_ns + 1_000_000 * (len(text) + 1)] * 2
    os.utime(path, ns=(times[0], times[1]))


def team(cluster: ClusterState) -> str | None:
    namespace = cluster.namespace("shop")
    return None if namespace is None else namespace.labels.get("team")


def test_a_file_s_objects_are_in_the_world(tmp_path: Path, cluster: ClusterState) -> None:
    write(tmp_path / "a.yaml", NAMESPACE % "frontend")
    assert FolderSource(tmp_path, cluster).refresh()
    assert team(cluster) == "frontend"


def test_an_edit_is_seen_and_told_to_listeners(tmp_path: Path, cluster: ClusterState) -> None:
    folder = FolderSource(tmp_path, cluster)
    write(tmp_path / "a.yaml", NAMESPACE % "frontend")
    folder.refresh()
    heard: list[str] = []
    cluster.listeners.append(heard.append)
    write(tmp_path / "a.yaml", NAMESPACE % "backend-2")
    assert folder.refresh()
    assert (team(cluster), heard) == ("backend-2", ["shop"])


def test_a_file_that_did_not_change_is_not_read_again(
    tmp_path: Path, cluster: ClusterState
) -> None:
    folder = FolderSource(tmp_path, cluster)
    write(tmp_path / "a.yaml", NAMESPACE % "frontend")
    folder.refresh()
    assert not folder.refresh()


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("apiVersion: v1\nkind: [}\n", 2, ""),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\nkind: Pod\n", 4, "duplicate key"),
        ("apiVersion: v2\nkind: Namespace\nmetadata: {name: a}\n", 1, "apiVersion"),
        ("---\n---\napiVersion: v1\nkind: Namespace\nmetadata: {}\n", 3, "metadata.name"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {x: 1}}", 1, "labels.x"),
        ("just a text", 1, "mapping"),
    ],
    ids=["syntax", "duplicate-key", "version", "no-name", "label-type", "no-mapping"],
)
def test_a_broken_file_is_named_with_line_and_reason(
    tmp_path: Path, cluster: ClusterState, text: str, line: int, reason: str
) -> None:
    write(tmp_path / "a.yaml", text)
    folder = FolderSource(tmp_path, cluster)
    folder.refresh()
    (error,) = folder.errors.values()
    assert f"a.yaml:{line}:" in str(error)
    assert reason in str(error)


def test_a_broken_edit_leaves_the_last_good_state(tmp_path: Path, cluster: ClusterState) -> None:
    folder = FolderSource(tmp_path, cluster)
    write(tmp_path / "a.yaml", NAMESPACE % "frontend")
    folder.refresh()
    write(tmp_path / "a.yaml", "kind: [")
    folder.refresh()
    assert (team(cluster), len(folder.errors)) == ("frontend", 1)
    write(tmp_path / "a.yaml", NAMESPACE % "backend")
    folder.refresh()
    assert (team(cluster), len(folder.errors)) == ("backend", 0)


def test_a_file_that_goes_takes_its_objects_along(tmp_path: Path, cluster: ClusterState) -> None:
    folder = FolderSource(tmp_path, cluster)
    write(tmp_path / "a.yaml", NAMESPACE % "frontend")
    folder.refresh()
    (tmp_path / "a.yaml").unlink()
    folder.refresh()
    assert team(cluster) is None


def test_an_object_that_moves_to_another_file_stays(tmp_path: Path, cluster: ClusterState) -> None:
    folder = FolderSource(tmp_path, cluster)
    write(tmp_path / "a.yaml", NAMESPACE % "frontend")
    folder.refresh()
    (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
    folder.refresh()
    assert team(cluster) == "frontend"


def test_a_broken_file_does_not_stop_its_neighbours(tmp_path: Path, cluster: ClusterState) -> None:
    write(tmp_path / "a.yaml", "\t")
    write(tmp_path / "b.yaml", NAMESPACE % "frontend")
    folder = FolderSource(tmp_path, cluster)
    folder.refresh()
    assert (team(cluster), len(folder.errors)) == ("frontend", 1)


def test_binary_and_unreadable_files_are_errors_not_crashes(
    tmp_path: Path, cluster: ClusterState
) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "b.yaml").mkdir()
    folder = FolderSource(tmp_path, cluster)
    folder.refresh()
    assert len(folder.errors) == 2


def test_other_kinds_and_other_files_are_passed_over(tmp_path: Path, cluster: ClusterState) -> None:
    write(tmp_path / "a.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n")
    write(tmp_path / "notes.txt", "not yaml: [")
    folder = FolderSource(tmp_path, cluster)
    folder.refresh()
    assert not folder.errors


@pytest.mark.parametrize("number", ["0x" + "f" * 4000, "1" * 5000, "-9223372036854775809"])
def test_an_integer_beyond_64_bits_breaks_its_file_only(
    tmp_path: Path, cluster: ClusterState, number: str
) -> None:
    text = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: a, labels: {{b: {number}}}}}\n"
    write(tmp_path / "a.yaml", text)
    folder = FolderSource(tmp_path, cluster)
    folder.refresh()

    assert list(folder.errors) == [tmp_path / "a.yaml"]


def test_a_folder_that_goes_away_while_it_is_looked_through_is_looked_at_again(
    tmp_path: Path, cluster: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanished(path: Path, pattern: str) -> list[Path]:
        raise FileNotFoundError(path, pattern)

    folder = FolderSource(tmp_path, cluster)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rglob", vanished)
        assert not folder.refresh()
    write(tmp_path / "a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")

    assert folder.refresh()


def test_a_file_too_large_is_refused_as_a_whole(
    tmp_path: Path, cluster: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "MAX_FILE_BYTES", 200)
    write(tmp_path / "a.yaml", f"{NAMESPACE % 'frontend'}# {'ä' * 60}\n# {'ä' * 60}\n")
    folder = FolderSource(tmp_path, cluster)
    folder.refresh()

    assert team(cluster) is None
    (error,) = folder.errors.values()
    assert "more than" in str(error)
