"""Reading policy documents: what those of all roles have in common."""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from sidecar.errors import PolicyError, RuleError, show
from sidecar.model.access.rules import AccessRule, parse_access_rule, parse_access_rules, sort_rules
from sidecar.model.fields import Fields, kind_of
from sidecar.model.labels.relabel import Rule, parse_rules

SCHEMA = 1
"""Rises when a proxy that knows only the old form would do something wrong with the new."""
MAX_POLICY_BYTES = 16 << 20
MAX_NOTES = 20
_MAX_NOTE_CHARACTERS = 500
T = TypeVar("T")
P = TypeVar("P")


class Origin(StrEnum):
    """Where a document comes from. It decides what becomes of a field that is not known."""

    FILE = "file"
    """A person wrote it: the field is a mistake, and the document is refused."""
    STREAM = "stream"
    """A control service sent it, perhaps a newer one: the field is ignored and reported."""


@dataclass
class DocumentReader:
    """Reads the parts that all roles' documents have in common.

    Of a document from the stream each part is read alone. A part that cannot be read keeps its last
    good value; an access rule, which may narrow, grants nothing. The other parts go on.

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
            PolicyError: it is of a newer schema.
            RuleError: it is not a mapping; from a file also: it has an unknown field.
        """
        if not isinstance(value, dict):
            raise RuleError("", f"a policy is a mapping, not {kind_of(value)}")
        schema = value.get("schema", SCHEMA)
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise RuleError("schema", f"a whole number from 1 is needed, not {show(schema)}")
        if schema > SCHEMA:
            raise PolicyError(
                f"policy schema {show(schema)} is newer than this livery-proxy reads ({SCHEMA}):"
                " update it"
            )
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

    def part(
        self,
        fields: Fields,
        key: str,
        read: Callable[[], T],
        *,
        last: P | None,
        pick: Callable[[P], T],
    ) -> T:
        """Read a part; one that cannot be read keeps its last good value.

        Args:
            fields: where it stands.
            key: under which key.
            read: reads it.
            last: what was active before; None at the start.
            pick: takes the part's value of `last`.

        Raises:
            RuleError: it cannot be read, and comes from a file or has no predecessor.
        """
        try:
            check_text(fields.value.get(key), fields.name(key))
            return read()
        except RuleError as error:
            if self.origin is Origin.FILE or last is None:
                raise
            self.note(f"{error}; the last good value stays active")
            return pick(last)

    def relabelings(
        self, fields: Fields, key: str, *, last: P | None, pick: Callable[[P], tuple[Rule, ...]]
    ) -> tuple[Rule, ...]:
        """Read a list of relabel rules, as `part` does.

        Raises:
            RuleError: it cannot be read, and comes from a file or has no predecessor.
        """
        path = fields.name(key)
        return self.part(
            fields, key, lambda: parse_rules(fields.value.get(key), path), last=last, pick=pick
        )

    def access_rules(self, fields: Fields, key: str) -> tuple[AccessRule, ...] | None:
        """Read access rules; None where there are none. One that cannot be read grants nothing.

        Raises:
            RuleError: from a file only: a rule cannot be read.
        """
        value, path = fields.value.get(key), fields.name(key)
        if value is None:
            return None
        if self.origin is Origin.FILE:
            check_text(value, path)
            return parse_access_rules(value, path)
        if not isinstance(value, list):
            self.note(f"{path}: a list of access rules is needed; nothing is granted")
            return ()
        rules = [self._access_rule(item, f"{path}[{at}]") for at, item in enumerate(value)]
        return sort_rules(rule for rule in rules if rule is not None)

    def _access_rule(self, value: object, path: str) -> AccessRule | None:
        try:
            check_text(value, path)
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
            self.problems.append(problem[:_MAX_NOTE_CHARACTERS])


def check_text(value: object, path: str) -> None:
    """Refuse half of a surrogate pair, which JSON may hold and no text that is sent on can.

    Raises:
        RuleError: there is one, or the value is nested too deep to look.
    """
    try:
        json.dumps(value, ensure_ascii=False, skipkeys=True, default=str).encode()
    except UnicodeEncodeError as error:
        raise RuleError(path, "a text is not valid Unicode: half of a surrogate pair") from error
    except RecursionError as error:
        raise RuleError(path, "nested too deep") from error
