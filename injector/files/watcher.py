"""A folder of manifests as the source of a cluster's state; an invalid file changes nothing."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

from injector.errors import InjectorError, ManifestError, ObjectError, SettingsError
from injector.files.manifests import MAX_FILE_BYTES, read_manifests
from injector.model.cluster.objects import Object
from injector.model.cluster.state import KINDS, ClusterState, Key, key_of
from sidecar.model.access.objects import API_VERSION as METRIC_ACCESS_VERSION

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
"""Polling a few files with stat is cheap, and works the same on every system and file system."""
_SUFFIXES = (".yaml", ".yml", ".json")
_VERSIONS = {"MetricAccess": METRIC_ACCESS_VERSION}


class FolderSource:
    """Loads a folder's objects into the cluster's state and follows the folder."""

    def __init__(self, folder: Path, cluster: ClusterState) -> None:
        self._folder = folder
        self._cluster = cluster
        self._stamps: dict[Path, tuple[int, int]] = {}
        self._objects: dict[Path, dict[Key, Object]] = {}
        self.errors: dict[Path, InjectorError] = {}
        """Files that cannot be used now; their last valid content stays active."""

    def open(self) -> None:
        """Read the folder for the first time.

        Raises:
            SettingsError: the folder does not exist.
        """
        if not self._folder.exists():
            raise SettingsError(f"{self._folder}: no such folder or file")
        self.refresh()

    def problems(self) -> list[str]:
        """Return which files cannot be used, one sentence each."""
        return [
            f"cannot use a file; keeping its last valid content: {error}"
            for error in self.errors.values()
        ]

    def has_read(self) -> bool:
        """Return true: `open` has read the folder."""
        return True

    def unready(self) -> str:
        """Return a message if the folder no longer exists; empty if it does."""
        return (
            "" if self._folder.exists() else f"{self._folder} is gone; its last state stays active"
        )

    def refresh(self) -> bool:
        """Check the folder once; return whether anything changed."""
        if not self._folder.exists():
            return False  # the whole folder is gone: its last state stays
        try:
            files = self._files()
        except OSError:
            return False  # a folder disappeared during the walk: the next poll tries again
        stamps = {path: stamp for path in files if (stamp := _stamp(path)) is not None}
        gone = [path for path in self._stamps if path not in stamps]
        changed = [path for path, stamp in stamps.items() if self._stamps.get(path) != stamp]
        self._stamps = stamps
        for path in gone:
            self.errors.pop(path, None)
            self._replace(path, {})
        for path in changed:
            self._read(path)
        return bool(gone or changed)

    async def changes(self) -> AsyncIterator[None]:
        """Poll the folder; yield whenever something changed."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self.refresh():
                yield

    def _files(self) -> list[Path]:
        if self._folder.is_file():
            return [self._folder]
        return sorted(
            path
            for path in self._folder.rglob("*")
            if path.suffix in _SUFFIXES and not path.name.startswith(".")
        )

    def _read(self, path: Path) -> None:
        try:
            objects = _load(path)
        except InjectorError as error:
            self.errors[path] = error
            logger.error("cannot use a file; keeping its last valid content", extra=_place(error))
            return
        if self.errors.pop(path, None) is not None:
            logger.info("a file is valid again", extra={"file": str(path)})
        self._replace(path, objects)

    def _replace(self, path: Path, objects: dict[Key, Object]) -> None:
        before = self._objects.pop(path, {})
        elsewhere = {key for others in self._objects.values() for key in others}
        for key in before:
            if key not in objects and key not in elsewhere:
                self._cluster.remove(key)
        for key, obj in objects.items():
            if key in elsewhere:
                logger.warning("an object is defined in two files", extra={"object": "/".join(key)})
            self._cluster.put(key.kind, obj)
        if objects:
            self._objects[path] = objects


def _load(path: Path) -> dict[Key, Object]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:  # check the size first: a truncated file may still decode
            raise ManifestError(str(path), 0, f"more than {MAX_FILE_BYTES >> 20} MiB")
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(str(path), 0, f"cannot be read: {error}") from error
    objects: dict[Key, Object] = {}
    for manifest in read_manifests(text, str(path)):
        kind = str(manifest.obj.get("kind"))
        wanted = _VERSIONS.get(kind, "v1")
        if kind not in KINDS:
            continue  # other kinds, such as Deployments, do not concern Livery
        if manifest.obj.get("apiVersion") != wanted:
            reason = f"apiVersion of a {kind} is {manifest.obj.get('apiVersion')!r}, not {wanted}"
            raise ManifestError(str(path), manifest.line, reason)
        try:
            ClusterState().put(kind, manifest.obj)
            objects[key_of(kind, manifest.obj)] = manifest.obj
        except ObjectError as error:
            raise ManifestError(str(path), manifest.line, str(error)) from error
    return objects


def _place(error: InjectorError) -> dict[str, object]:
    if isinstance(error, ManifestError):
        return {"file": error.source, "line": error.line, "reason": error.reason}
    return {"reason": str(error)}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
