"""The reasons of a MetricAccess object's condition `Ready`."""

from sidecar.model.described import Described


class ReadyReason(Described):
    """Reasons of the condition `Ready`."""

    IN_FORCE = "InForce", "its read rules are active, and its sending works"
    NOT_ACCEPTED = "NotAccepted", "no part of it is active; the condition `Accepted` says why"
    INVALID_TARGET = "InvalidTarget", "its `remoteWrite` is invalid; the message names the field"
    SECRETS_NOT_GRANTED = (
        "SecretsNotGranted",
        "it references a Secret, but the platform reads no Secrets of its namespace "
        "(`remoteWrite.secretNamespaces`)",
    )
    SECRET_NOT_FOUND = "SecretNotFound", "a Secret that it references, or its key, does not exist"
    SECRET_NOT_CONSENTED = (
        "SecretNotConsented",
        "the Secret's annotation `livery.dev/remote-write-hosts` does not name the receiver",
    )
    NO_COLLECTOR = "NoCollector", "it uses `collect: prometheus`, but no collector runs"
    TOO_MANY = "TooManySend", "too many objects of its namespace send, or to too many receivers"
    NOT_SUPPLIED = (
        "NotSuppliedByProxies",
        "no proxy runs in its namespace, or none has series for a pattern",
    )
    NOT_SENT_YET = "NotSentYet", "no collector has reported sending this object"
    SENDING_FAILS = "SendingFails", "the last request to a receiver failed"
    LAGGING = "Lagging", "samples have waited for over two minutes and over four intervals"
