"""An injector's parts where a folder of manifests plays the cluster."""

from pathlib import Path

from webhook_certs.rotation import Rotation
from webhook_certs.stores import FolderStore

from injector.control.backend import Backend
from injector.files.identity import FolderAuthenticator
from injector.files.watcher import FolderSource
from injector.model.cluster.state import ClusterState


def folder_backend(manifests: Path, tokens: Path, certificates: Path) -> Backend:
    """Make the parts.

    Args:
        manifests: the folder of manifests, or one file.
        tokens: a folder `<namespace>/<pod>` of tokens by which proxies are known.
        certificates: the folder in which the CA is kept.
    """
    cluster = ClusterState()
    return Backend(
        cluster=cluster,
        source=FolderSource(manifests, cluster),
        authenticator=FolderAuthenticator(tokens),
        issuer=lambda names: Rotation(FolderStore(certificates), names),
    )
