import argparse

import pytest

from sidecar.process.help_format import HelpFormatter


def test_a_description_is_wrapped_and_examples_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    example = "  livery-proxy --role pod --target http://127.0.0.1:8080/metrics --policy a.yaml"
    parser = argparse.ArgumentParser(
        description="word " * 30, epilog=f"examples:\n{example}\n", formatter_class=HelpFormatter
    )

    lines = parser.format_help().splitlines()

    assert example in lines
    assert [line for line in lines if len(line) > 60] == [example]
