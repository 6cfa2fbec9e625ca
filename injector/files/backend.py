"""The parts of an injector that runs on a folder of manifests instead of a cluster."""

from pathlib import Path

from webhook_certs.rotation import Rotation
from webhook_certs.stores import FolderStore

from injector.control.backend import Backend
from injector.files.identity import FolderAuthenticator
from injector.files.watcher import FolderSource
from injector.model.cluster.state import ClusterState


def folder_backend(manifests: Path, tokens: Path, certificates: Path) -> Backend:
    """Build the backend.

    Args:
        manifests: the folder of manifests, or one file.
        tokens: a folder with the token of each proxy's pod in `<namespace>/<pod>`.
        certificates: the folder that stores the CA.
    """
    cluster = ClusterState()
    return Backend(
        cluster=cluster,
        source=FolderSource(manifests, cluster),
        authenticator=FolderAuthenticator(tokens),
        issuer=lambda names: Rotation(FolderStore(certificates), names),
    )
