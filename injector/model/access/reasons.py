"""Why an object is ready, or not: the reason of its condition `Ready`."""

from sidecar.model.described import Described


class ReadyReason(Described):
    """Reasons of the condition `Ready`."""

    IN_FORCE = "InForce", "its reading rules are in force, and what it sends arrives"
    NOT_ACCEPTED = "NotAccepted", "nothing of it is in force; the condition `Accepted` says why"
    INVALID_TARGET = "InvalidTarget", "its target cannot be sent to; the message names the field"
    SECRETS_NOT_GRANTED = (
        "SecretsNotGranted",
        "it names a Secret, and the platform reads none of its namespace "
        "(`remoteWrite.secretNamespaces`)",
    )
    SECRET_NOT_FOUND = "SecretNotFound", "a Secret that it names, or its key, is not there"
    SECRET_NOT_CONSENTED = (
        "SecretNotConsented",
        "the Secret's annotation `livery.dev/remote-write-hosts` does not name the receiver",
    )
    NO_COLLECTOR = "NoCollector", "it says `collect: prometheus`, and no collector runs"
    TOO_MANY = "TooManySend", "more objects of its namespace send than are allowed"
    NOT_SUPPLIED = (
        "NotSuppliedByProxies",
        "no proxy of its namespace has series for a pattern, or none runs there",
    )
    NOT_SENT_YET = "NotSentYet", "no collector has reported that it sends this"
    SENDING_FAILS = "SendingFails", "the last request to a receiver failed"
    LAGGING = "Lagging", "samples wait for over two minutes, and for over four intervals"
