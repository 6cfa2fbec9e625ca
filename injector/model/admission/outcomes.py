"""The outcome of an admission: a reason, warnings, and sentences for users.

The codes are metric label values and log fields.
"""

from enum import StrEnum
from typing import NamedTuple

from sidecar.model.described import Described
from sidecar.model.pods.scrape_annotations import ScrapeWarning


class Reason(Described):
    """Why a pod was injected or left alone; the sentence follows "injected:" or "left alone:"."""

    INJECTED = "injected", "the proxy was added"
    OPTED_OUT = "opted-out", 'the pod has livery.dev/inject: "false"'
    NOT_SELECTED = "not-selected", "the webhook's objectSelector does not match the pod's labels"
    NOT_ANNOTATED = "not-annotated", 'neither livery.dev/inject nor prometheus.io/scrape is "true"'
    ALREADY_INJECTED = "already-injected", "the pod already has a container named livery-proxy"
    MIRROR_POD = "mirror-pod", "it is a mirror pod, created by the kubelet from a file"
    SYSTEM_NAMESPACE = "system-namespace", "Kubernetes' own namespaces are never touched"
    OWN_NAMESPACE = "own-namespace", "Livery's own namespace is never touched"
    WINDOWS = "windows", "it is a Windows pod; the proxy's image is for Linux"
    HOST_NETWORK = (
        "host-network",
        "it uses the host network; the node role covers it, or set livery.dev/port to a "
        "port that is free on the node",
    )
    LIMIT_RANGE = "limit-range", "no resources for the proxy fit the namespace's LimitRange"
    NO_TARGET = "no-target", "its annotations name no target that can be scraped"
    NOT_A_POD = "not-a-pod", "it is not a pod"
    NOT_A_CREATE = "not-a-create", "pods are changed at creation only"
    MALFORMED = "malformed", "the object is malformed"
    INTERNAL_ERROR = "internal-error", "Livery failed; see the injector's log"
    PREPARED = "prepared", "the DaemonSet was completed"
    NOT_A_PROXY = "not-a-proxy", "the DaemonSet has no livery.dev/role that Livery prepares"


class WarningCode(StrEnum):
    """What is wrong with a pod that is admitted anyway."""

    UNKNOWN_ANNOTATION = "unknown-annotation"
    """An annotation of Livery's does not exist; it may be misspelled."""
    BAD_ANNOTATION = "bad-annotation"
    """An annotation has an invalid value and is ignored."""
    TWO_SPELLINGS = "two-spellings"
    """Two spellings of one annotation differ."""
    BAD_TARGET = "bad-target"
    """A target cannot be scraped and is left out."""
    GUESSED_TARGETS = "guessed-targets"
    """Several ports are declared and no annotation says which has the metrics."""
    BAD_PORT = "bad-port"
    """The requested port of the proxy cannot be used; another is used."""
    BAD_QUANTITY = "bad-quantity"
    """A resource annotation cannot be used; the default is used."""
    POD_RESOURCES = "pod-resources"
    """The pod has pod-level resources, so annotations for the proxy's resources have no effect."""
    CLAMPED = "clamped"
    """The proxy's resources were adjusted to the namespace's LimitRange."""
    BOOTSTRAP_TOO_LARGE = "bootstrap-too-large"
    """The namespace's labels are too long for the pod; the policy stream sends them."""
    JOB_STAYS = "job-stays"
    """A job with the proxy as a regular container never completes."""
    NAME_TAKEN = "name-taken"
    """The pod has its own container with the proxy's name, so no proxy was added."""
    LEFT_ALONE = "left-alone"
    """The pod asked for a proxy and did not get one."""


class AdmissionWarning(NamedTuple):
    """One warning for a user."""

    code: WarningCode
    text: str

    @classmethod
    def of(cls, warning: ScrapeWarning) -> "AdmissionWarning":
        """Convert a warning about a pod's scrape annotations."""
        return cls(WarningCode(warning.fault), warning.text)

    def __str__(self) -> str:
        """Return the text that the API server shows: one line of at most 256 characters."""
        text = "".join(char if char.isprintable() else " " for char in self.text)
        line = " ".join(f"livery: {text}".split())
        return line if len(line) <= 256 else f"{line[:255]}…"
