"""Reads the parts of policy documents that all roles share."""

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
"""Increases when a proxy that knows only the old schema would misapply the new one."""
MAX_POLICY_BYTES = 16 << 20
MAX_NOTES = 20
_MAX_NOTE_CHARACTERS = 500
T = TypeVar("T")
P = TypeVar("P")


class Origin(StrEnum):
    """Where a document comes from; this decides how unknown fields are handled."""

    FILE = "file"
    """A person wrote it: the field is a mistake, and the document is refused."""
    STREAM = "stream"
    """A control service sent it, possibly a newer one: the field is ignored and reported."""


@dataclass
class DocumentReader:
    """Reads the parts that the documents of all roles share.

    Each part of a document from the stream is read independently. A part that cannot be read keeps
    its last good value. An access rule that cannot be read grants nothing, because the unreadable
    part may be a restriction. All other parts take effect.

    Args:
        origin: where the document comes from.
        ignored: paths of unknown fields, filled while reading.
        problems: other things that cannot be used, one sentence each, filled while reading.
    """

    origin: Origin
    ignored: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def open(self, value: object, known: Collection[str]) -> Fields:
        """Start reading a document.

        Raises:
            PolicyError: its schema is newer than this proxy supports.
            RuleError: it is not a mapping, its schema is invalid, or, in a file only, it has an
                unknown field.
        """
        if not isinstance(value, dict):
            raise RuleError("", f"a policy must be a mapping, not {kind_of(value)}")
        schema = value.get("schema", SCHEMA)
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise RuleError("schema", f"an integer from 1 is needed, not {show(schema)}")
        if schema > SCHEMA:
            raise PolicyError(
                f"policy schema {show(schema)} is newer than this livery-proxy supports"
                f" ({SCHEMA}): update livery-proxy"
            )
        return self.check(Fields(value), {"schema", *known}, "a field of a policy")

    def check(self, fields: Fields, known: Collection[str], what: str) -> Fields:
        """Refuse or note unknown fields.

        Args:
            fields: the fields to check.
            known: names of the known fields.
            what: what errors call a field, as in "not a field of a policy".

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
        """Read a part; if it cannot be read, its last good value stays active.

        Args:
            fields: the mapping that contains it.
            key: its key in the mapping.
            read: reads it.
            last: what was active before; None at the start.
            pick: returns the part's value from `last`.

        Raises:
            RuleError: it cannot be read, and comes from a file or nothing was active before.
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
            RuleError: it cannot be read, and comes from a file or nothing was active before.
        """
        path = fields.name(key)
        return self.part(
            fields, key, lambda: parse_rules(fields.value.get(key), path), last=last, pick=pick
        )

    def access_rules(self, fields: Fields, key: str) -> tuple[AccessRule, ...] | None:
        """Read access rules; None if they are absent. A rule that cannot be read grants nothing.

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
        """Note a problem: something that cannot be used."""
        if len(self.problems) < MAX_NOTES:
            self.problems.append(problem[:_MAX_NOTE_CHARACTERS])


def check_text(value: object, path: str) -> None:
    """Refuse lone surrogates: JSON may contain them, but they cannot be encoded as UTF-8.

    Raises:
        RuleError: there is one, or the value is nested too deeply to check.
    """
    try:
        json.dumps(value, ensure_ascii=False, skipkeys=True, default=str).encode()
    except UnicodeEncodeError as error:
        raise RuleError(path, "a string is not valid Unicode: it has a lone surrogate") from error
    except RecursionError as error:
        raise RuleError(path, "nested too deeply") from error
