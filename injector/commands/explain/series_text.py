"""Series on the command line: read as selectors of PromQL, written in the same way."""

from collections.abc import Mapping

from injector.errors import SettingsError
from sidecar.errors import QueryError
from sidecar.model.promql.matchers import Condition
from sidecar.model.promql.parser import parse_series_selector
from sidecar.model.promql.printer import print_conditions


def read_series(text: str, argument: str) -> dict[str, str]:
    """Read a series such as `up{job="web"}`.

    Raises:
        SettingsError: it is not one; the error names the argument.
    """
    try:
        conditions = parse_series_selector(text).conditions
    except QueryError as error:
        raise SettingsError(f"{argument}: {error}") from error
    if any(item.op != "=" for item in conditions):
        raise SettingsError(f'{argument}: write labels as name="value"; other operators select')
    found = {item.name: item.value for item in conditions}
    if len(found) < len(conditions):
        raise SettingsError(f"{argument}: a label is given twice")
    try:
        "".join((*found, *found.values())).encode()
    except UnicodeEncodeError as error:
        raise SettingsError(f"{argument}: a name or value is not UTF-8") from error
    return found


def write_series(labels: Mapping[str, str]) -> str:
    """Write a series, its name first and its labels sorted; `{}` if it has no name."""
    conditions = [Condition(key, "=", value) for key, value in sorted(labels.items())]
    conditions.sort(key=lambda item: item.name != "__name__")
    return print_conditions(tuple(conditions)) if labels.get("__name__") else "{}"
