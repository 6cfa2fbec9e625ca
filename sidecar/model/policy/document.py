"""Reading policy documents: what those of all roles have in common."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from sidecar.errors import PolicyError, RuleError, show
from sidecar.model.access.rules import AccessRule, parse_access_rule, parse_access_rules, sort_rules
from sidecar.model.fields import Fields
from sidecar.model.labels.relabel import Rule, parse_rules

SCHEMA = 1
"""Rises when a proxy that knows only the old form would do something wrong with the new."""
MAX_POLICY_BYTES = 16 << 20
MAX_NOTES = 20


class Origin(StrEnum):
    """Where a document comes from. It decides what becomes of a field that is not known."""

    FILE = "file"
    """A person wrote it: the field is a mistake, and the document is refused."""
    STREAM = "stream"
    """A control service sent it, perhaps a newer one: the field is ignored and reported."""


@dataclass
class DocumentReader:
    """Reads the parts that all roles' documents have in common.

    A document from the stream goes on as far as it can be understood: labels always do, and what
    narrows fails closed.

    Args:
        origin: where the document comes from.
        ignored: paths of unknown fields, filled while it is read.
        problems: what could not be used of the rest, filled likewise; a sentence each.
    """

    origin: Origin
    ignored: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open(self, value: object, known: Collection[str]) -> Fields:
        """Begin with a document.

        Raises:
            PolicyError: it is no mapping, is of a newer schema, or holds what is not Unicode.
            RuleError: from a file only: it has an unknown field.
        """
        if not isinstance(value, dict):
            raise PolicyError("a policy is a mapping")
        schema = value.get("schema", SCHEMA)
        if not isinstance(schema, int) or schema > SCHEMA:
            raise PolicyError(
                f"policy schema {show(schema)} is newer than this livery-proxy reads ({SCHEMA}):"
                " update it"
            )
        check_unicode(value)
        return self.check(Fields(value), {"schema", *known}, "a field of a policy")

    def check(self, fields: Fields, known: Collection[str], what: str) -> Fields:
        """Refuse or note unknown fields.

        Args:
            fields: some fields.
            known: those that are known.
            what: what a field is called.

        Raises:
            RuleError: from a file only: a field is unknown.
        """
        if self.origin is Origin.FILE:
            fields.refuse_unknown(known, what)
        for key in fields.unknown(known):
            self.ignore(fields.name(key))
        return fields

    def relabelings(
        self, fields: Fields, key: str, last: tuple[Rule, ...] | None
    ) -> tuple[Rule, ...]:
        """Read a list of relabel rules; one that cannot be read leaves the last good one.

        Args:
            fields: where it stands.
            key: under which key.
            last: the last good list; None where there is none.

        Raises:
            RuleError: it cannot be read, and comes from a file or has no predecessor.
        """
        try:
            return parse_rules(fields.value.get(key), fields.name(key))
        except RuleError as error:
            if self.origin is Origin.FILE or last is None:
                raise
            self.note(f"{error}; the last good rules stay active")
            return last

    def access_rules(self, fields: Fields, key: str) -> tuple[AccessRule, ...] | None:
        """Read access rules; None where there are none. One that cannot be read grants nothing.

        Raises:
            RuleError: from a file only: a rule cannot be read.
        """
        value, path = fields.value.get(key), fields.name(key)
        if value is None:
            return None
        if self.origin is Origin.FILE:
            return parse_access_rules(value, path)
        if not isinstance(value, list):
            self.note(f"{path}: a list of access rules is needed; nothing is granted")
            return ()
        rules = [self._access_rule(item, f"{path}[{at}]") for at, item in enumerate(value)]
        return sort_rules(rule for rule in rules if rule is not None)

    def _access_rule(self, value: object, path: str) -> AccessRule | None:
        try:
            return parse_access_rule(value, path)
        except RuleError as error:
            self.note(f"{error}; the rule grants nothing")
            return None

    def ignore(self, path: str) -> None:
        """Note an unknown field."""
        if len(self.ignored) < MAX_NOTES:
            self.ignored.append(path[:80])

    def note(self, problem: str) -> None:
        """Note what cannot be used."""
        if len(self.problems) < MAX_NOTES:
            self.problems.append(problem)


def check_unicode(value: object) -> None:
    """Refuse half of a surrogate pair, which JSON may hold and no text that is sent on can.

    Raises:
        PolicyError: there is one.
    """
    try:
        json.dumps(value, ensure_ascii=False, skipkeys=True, default=str).encode()
    except UnicodeEncodeError as error:
        raise PolicyError("a text is not valid Unicode: half of a surrogate pair") from error
