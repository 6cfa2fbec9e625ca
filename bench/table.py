"""Rows and the table that `make bench` prints."""

from typing import NamedTuple


class Row(NamedTuple):
    """One measured claim."""

    claim: str
    figure: float
    unit: str
    bar: float
    compared: str
    """What it was compared with in the same run, with that figure."""

    @property
    def holds(self) -> bool:
        return self.figure <= self.bar


def render(rows: list[Row]) -> str:
    """Write rows as a Markdown table."""
    lines = [
        "| claim | measured | bar | | compared with, in the same run |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        verdict = "ok" if row.holds else "MISSED"
        figure = f"{row.figure:.3g} {row.unit}"
        lines.append(
            f"| {row.claim} | {figure} | ≤ {row.bar:g} {row.unit} | {verdict} | {row.compared} |"
        )
    return "\n".join(lines)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
