"""What an admission ends in: a reason, warnings, and sentences for people.

The codes are metric labels and log fields; the sentences go to users.
"""

from enum import StrEnum
from typing import NamedTuple

from sidecar.model.described import Described
from sidecar.model.pods.scrape_annotations import ScrapeWarning


class Reason(Described):
    """Why a pod was injected or left alone; the sentence follows "injected:" or "left alone:"."""

    INJECTED = "injected", "the proxy was added"
    OPTED_OUT = "opted-out", 'the pod says livery.dev/inject: "false"'
    NOT_ANNOTATED = "not-annotated", 'neither livery.dev/inject nor prometheus.io/scrape is "true"'
    ALREADY_INJECTED = "already-injected", "there is a container named livery-proxy already"
    MIRROR_POD = "mirror-pod", "it is a mirror pod, made by the kubelet of a file"
    SYSTEM_NAMESPACE = "system-namespace", "Kubernetes' own namespaces are never touched"
    OWN_NAMESPACE = "own-namespace", "Livery's own namespace is never touched"
    WINDOWS = "windows", "it is a Windows pod; the proxy's image is for Linux"
    HOST_NETWORK = (
        "host-network",
        "it uses the node's network; the node role covers it, or livery.dev/port names a "
        "port that is free on the node",
    )
    LIMIT_RANGE = "limit-range", "no resources for the proxy fit the namespace's LimitRange"
    NO_TARGET = "no-target", "nothing that its annotations name can be scraped"
    NOT_A_POD = "not-a-pod", "it is not a pod"
    NOT_A_CREATE = "not-a-create", "pods are changed at creation only"
    MALFORMED = "malformed", "it is not of a pod's shape"
    INTERNAL_ERROR = "internal-error", "Livery failed; see the injector's log"
    PREPARED = "prepared", "the DaemonSet was completed"
    NOT_A_PROXY = "not-a-proxy", "the DaemonSet carries no livery.dev/role that Livery prepares"


class WarningCode(StrEnum):
    """What is wrong with a pod that is admitted all the same."""

    BAD_ANNOTATION = "bad-annotation"
    """An annotation has a value that means nothing; it counts as absent."""
    TWO_SPELLINGS = "two-spellings"
    """Two spellings of one annotation differ."""
    BAD_TARGET = "bad-target"
    """A target cannot be scraped and is left out."""
    GUESSED_TARGETS = "guessed-targets"
    """Several ports are declared and no annotation says which has the metrics."""
    BAD_PORT = "bad-port"
    """The port that was asked for cannot be the proxy's; another is used."""
    BAD_QUANTITY = "bad-quantity"
    """A resource annotation cannot be used; the default stays."""
    POD_RESOURCES = "pod-resources"
    """The pod has resources as a whole, so annotations of the proxy's amounts have no effect."""
    CLAMPED = "clamped"
    """The proxy's resources were fitted into the namespace's LimitRange."""
    BOOTSTRAP_TOO_LARGE = "bootstrap-too-large"
    """The namespace's labels are too many to travel with the pod; they come by the stream."""
    JOB_STAYS = "job-stays"
    """A job with the proxy as an ordinary container never completes."""
    NAME_TAKEN = "name-taken"
    """A container of the pod's own has the proxy's name, so none was added."""
    LEFT_ALONE = "left-alone"
    """The pod asked for a proxy and did not get one."""


class AdmissionWarning(NamedTuple):
    """One thing that a user should hear."""

    code: WarningCode
    text: str

    @classmethod
    def of(cls, warning: ScrapeWarning) -> "AdmissionWarning":
        """Take over what is wrong with a pod's scrape annotations."""
        return cls(WarningCode(warning.fault), warning.text)

    def __str__(self) -> str:
        """As the API server shows it: one line, 256 characters at most."""
        text = "".join(char if char.isprintable() else " " for char in self.text)
        line = " ".join(f"livery: {text}".split())
        return line if len(line) <= 256 else f"{line[:255]}…"
