import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar import VERSION
from sidecar.errors import SettingsError
from sidecar.process.arguments import Parser, read_port


def _parser() -> Parser:
    parser = Parser.of_role("pod", prog="p", description="Scrapes.", examples="examples:\n  p -x\n")
    parser.add_argument("--port", type=int)
    return parser


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "required: --role"),
        (["--role", "node"], "invalid choice: 'node'"),
        (["--role", "pod", "--what"], "unrecognized arguments: --what"),
        (["--role", "pod", "--por", "1"], "unrecognized arguments: --por 1"),
        (["--role", "pod", "--port"], "argument --port: expected one argument"),
        (["--role", "pod", "--port", "x"], "argument --port: invalid int value: 'x'"),
    ],
)
def test_a_wrong_command_line_is_an_error_and_no_exit(arguments: list[str], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        _parser().parse_args(arguments)


@pytest.mark.parametrize("arguments", [["--role", "pod"], ["--role=pod"]])
def test_the_role_may_be_given_in_both_forms(arguments: list[str]) -> None:
    assert _parser().parse_args(arguments).role == "pod"


def test_help_keeps_the_lines_of_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        _parser().parse_args(["--help"])

    assert "\n\nexamples:\n  p -x\n" in capsys.readouterr().out


def test_the_version_is_printed_without_a_role(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        _parser().parse_args(["--version"])

    assert capsys.readouterr().out == f"livery-proxy {VERSION}\n"


@pytest.mark.parametrize("port", [0, 1, 16090, 65535])
def test_a_port_is_read(port: int) -> None:
    assert read_port(str(port)) == port


@pytest.mark.parametrize(
    "text", ["", "65536", "-1", "+1", " 1", "1\n", "1.0", "0x1", "1_0", "٣", "²", "000080"]
)
def test_what_is_not_a_port_is_none(text: str) -> None:
    assert read_port(text) is None


@given(text=st.text("0123456789-+ _٣²\ud800"))
def test_any_text_is_a_port_from_0_to_65535_or_none(text: str) -> None:
    port = read_port(text)

    assert port is None or (port == int(text) and 0 <= port <= 65535)
