"""Comments of values.yaml, descriptions of the schema and README's table say the same."""

import pytest

from tests.charts.described import (
    CHART,
    comments_of,
    fields_of,
    read_schema,
    write_schema,
    write_table,
)

_HEADING = "## Values\n\n"


def test_every_field_has_a_description_that_ends_as_a_sentence() -> None:
    fields = list(fields_of(read_schema()))
    lacking = [
        field.path for field in fields if not str(field.schema.get("description", "")).endswith(".")
    ]

    assert len(fields) > 280
    assert lacking == []


def test_a_field_s_description_is_the_comment_over_it(request: pytest.FixtureRequest) -> None:
    schema = read_schema()
    comments = comments_of((CHART / "values.yaml").read_text())
    fields = {field.path: field.schema for field in fields_of(schema)}
    if request.config.getoption("--update-golden"):
        for path, text in comments.items():
            fields[path]["description"] = text
        (CHART / "values.schema.json").write_text(write_schema(schema))

    assert len(comments) > 150
    assert {path: fields[path]["description"] for path in comments} == comments


def test_readme_lists_every_value_with_its_default(request: pytest.FixtureRequest) -> None:
    path = CHART / "README.md"
    before = path.read_text().partition(_HEADING)
    table = write_table(read_schema())
    if request.config.getoption("--update-golden"):
        path.write_text(f"{before[0]}{_HEADING}{table}")

    assert path.read_text().partition(_HEADING)[2] == table
    for value in ("injector.replicas", "sidecar.resources", "gateway.from", "aggregates[].name"):
        assert f"| `{value}` |" in table
