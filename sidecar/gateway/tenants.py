"""The tenants on whose behalf a request is made, and what they may see."""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sidecar.gateway.callers.caller import Caller
from sidecar.gateway.parameters import PARAMETER
from sidecar.gateway.refusals import Cause, Refusal
from sidecar.model.access.rules import AccessRule
from sidecar.model.access.views import view_of
from sidecar.model.promql.branches import View
from sidecar.model.promql.enforcement import Enforced, enforce_query

HEADER = "x-tenant-namespace"
MAX_CHOSEN = 50
MAX_REMEMBERED = 1000
MAX_REMEMBERED_CHARACTERS = 8 << 10
"""Maximum size of a query and its rewritten form together; longer ones are not cached."""
_is_namespace = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?").fullmatch

Tenants = tuple[str, ...]


def is_namespace(name: str) -> bool:
    """Return whether a namespace can have this name."""
    return _is_namespace(name) is not None


def read_names(text: str) -> list[str]:
    """Parse a comma-separated list of names."""
    return [name for part in text.split(",") if (name := part.strip())]


async def choose_tenants(caller: Caller, header: str, parameter: Sequence[str]) -> Tenants:
    """Return the tenants of a request: those that it names, else the caller's only one.

    Args:
        caller: the authenticated client.
        header: value of the tenant header; several names are separated by commas.
        parameter: values of the parameter `namespace`.

    Raises:
        Refusal: the caller may not act as a named tenant, must name one, or its rights cannot be
            checked now.
    """
    if header and parameter:
        raise Refusal(Cause.TENANT, 400, f"use either {HEADER} or {PARAMETER}=, not both")
    named = read_names(",".join([header, *parameter]))
    if not named:
        if len(caller.tenants) == 1:
            return tuple(caller.tenants)
        raise Refusal(Cause.TENANT, 400, f"{_unsure(caller)}: name one in {HEADER}")
    chosen = tuple(sorted(set(named)))
    if len(chosen) > MAX_CHOSEN:
        raise Refusal(Cause.TENANT, 400, f"more than {MAX_CHOSEN} tenants at once")
    for name in chosen:
        if not is_namespace(name) or not await caller.may_be(name):
            raise Refusal(Cause.TENANT, 403, f"{caller.name} may not act as tenant {name[:63]!r}")
    return chosen


def _unsure(caller: Caller) -> str:
    if not caller.tenants:
        return f"{caller.name} has no tenant of its own"
    known = ", ".join(sorted(caller.tenants)[:20])
    return f"{caller.name} may act as several tenants ({known})"


class Views:
    """What tenants may see under the current access rules, with a cache of rewritten queries.

    Args:
        rules: access rules by tenant.
        namespace_label: label that holds a series' namespace in the backends.
        refuses_unseen: whether a selector for which the rules show nothing is an error instead of
            empty.
    """

    def __init__(
        self,
        rules: Mapping[str, Sequence[AccessRule]],
        namespace_label: str = "namespace",
        *,
        refuses_unseen: bool = False,
    ) -> None:
        self.rules = rules
        self._namespace_label = namespace_label
        self._refuses_unseen = refuses_unseen
        self._views: dict[Tenants, View] = {}
        self._rewritten: OrderedDict[tuple[Tenants, str], Enforced] = OrderedDict()

    def inherit(self, before: "Views") -> None:
        """Keep cached results of the previous rules for tenants whose rules did not change."""
        for tenants, view in before._views.items():
            if self.same(before, tenants):
                self._views[tenants] = view
        for (tenants, text), rewritten in before._rewritten.items():
            if tenants in self._views:
                self._rewritten[tenants, text] = rewritten

    def same(self, other: "Views", tenants: Tenants) -> bool:
        """Return whether the tenants have the same rules in both."""
        return other is self or all(
            self.rules.get(name) == other.rules.get(name) for name in tenants
        )

    def of(self, tenants: Tenants) -> "Sight":
        """Return what these tenants see together, for one request."""
        return Sight(self, tenants)

    def view(self, tenants: Tenants) -> View:
        """Return what these tenants see together."""
        view = self._views.get(tenants)
        if view is None:
            if len(self._views) >= MAX_REMEMBERED:
                self._views.clear()
            rules = [rule for name in tenants for rule in self.rules.get(name, ())]
            view = view_of(rules, self._namespace_label)
            view = self._views[tenants] = view._replace(refuses_unseen=self._refuses_unseen)
        return view

    def rewrite(self, tenants: Tenants, text: str) -> Enforced:
        """Rewrite a query, or return its cached rewritten form.

        Raises:
            QueryError: the query cannot be parsed.
            QueryRefusedError: the query cannot be answered exactly.
        """
        key = (tenants, text)
        known = self._rewritten.get(key)
        if known is not None:
            self._rewritten.move_to_end(key)
            return known
        rewritten = enforce_query(text, self.view(tenants))
        if len(text) + len(rewritten.text) <= MAX_REMEMBERED_CHARACTERS:
            self._rewritten[key] = rewritten
            if len(self._rewritten) > MAX_REMEMBERED:
                self._rewritten.popitem(last=False)
        return rewritten


class Sight(NamedTuple):
    """What the tenants of one request see, unchanged for as long as it lasts."""

    views: Views
    tenants: Tenants

    @property
    def view(self) -> View:
        """Everything that the tenants see."""
        return self.views.view(self.tenants)

    def rewrite(self, text: str) -> Enforced:
        """Rewrite a query; raises what `Views.rewrite` does."""
        return self.views.rewrite(self.tenants, text)
