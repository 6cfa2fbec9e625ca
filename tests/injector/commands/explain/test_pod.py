import pytest

from injector.model.cluster.names import INJECT
from tests.injector.commands.test_inject import POD, SILENT
from tests.injector.conftest import Livery


def test_a_pod_that_gets_a_proxy_is_explained(livery: Livery) -> None:
    ran = livery(
        "explain", "pod", "-f", "-", "--namespace-label", "team=blue",
        "--namespace-label", "helm.sh/chart=x", stdin=POD,
    )  # fmt: skip

    assert ran.code == 0
    assert ran.out.splitlines() == [
        "Pod default/web",
        "  injected (injected): the proxy was added",
        "  proxy: native sidecar, metrics on port 16090, admin on 16091",
        "  target: web=http://:80/metrics",
        '  labels at startup: team="blue"',
        "  assumed: namespace default has the label livery.dev/inject=enabled",
    ]


@pytest.mark.parametrize(
    ("stdin", "line"),
    [
        (SILENT, "left alone (not-annotated): neither livery.dev/inject nor"),
        (POD.replace("spec:\n", "spec:\n    hostNetwork: true\n"), "left alone (host-network): "),
        (POD.replace("name: web\n", "name: web\n    namespace: kube-system\n", 1),
         "left alone (system-namespace): "),
        (POD.replace("[{name: web}]", "[]"), "left alone (malformed): the object is malformed: "
         "spec.containers: must not be empty"),
    ],
    ids=["not-annotated", "host-network", "system-namespace", "malformed"],
)  # fmt: skip
def test_a_pod_that_is_left_alone_is_explained(livery: Livery, stdin: str, line: str) -> None:
    ran = livery("explain", "pod", "-f", "-", stdin=stdin)

    assert ran.code == ("malformed" in line)
    assert ran.out.splitlines()[1].startswith(f"  {line}")


def test_warnings_are_shown_with_their_code(livery: Livery) -> None:
    ran = livery(
        "explain", "pod", "-f", "-", stdin=POD.replace('"true"', '"true", livery.dev/port: x')
    )

    assert "  warning (bad-port): annotation livery.dev/port: port 'x'" in ran.out


def test_the_namespace_of_the_manifests_counts(livery: Livery) -> None:
    cluster = "kind: Namespace\nmetadata: {name: default, labels: {team: red}}\n---\n"

    ran = livery("explain", "pod", "-f", "-", stdin=cluster + POD)

    assert '  labels at startup: team="red"' in ran.out


@pytest.mark.parametrize(
    ("labels", "is_labelled"), [("team: a", False), (f"{INJECT}: enabled", True)]
)
def test_a_namespace_among_the_manifests_needs_the_label(
    livery: Livery, labels: str, is_labelled: bool
) -> None:
    cluster = f"kind: Namespace\nmetadata: {{name: default, labels: {{{labels}}}}}\n---\n"

    lines = livery("explain", "pod", "-f", "-", stdin=cluster + POD).out.splitlines()

    if is_labelled:
        assert lines[1] == "  injected (injected): the proxy was added"
    else:
        assert lines[1:4] == [
            "  would not be injected: namespace default lacks livery.dev/inject=enabled",
            "      kubectl label namespace default livery.dev/inject=enabled",
            "  with that label: injected (injected): the proxy was added",
        ]
    assert not any("assumed" in line for line in lines)


@pytest.mark.parametrize("command", [("explain", "pod"), ("inject",), ("uninject",)])
def test_a_namespace_that_contradicts_an_object_is_refused(
    livery: Livery, command: tuple[str, ...]
) -> None:
    text = POD.replace("name: web\n", "name: web\n    namespace: bank\n", 1)
    ran = livery(*command, "-f", "-", "-n", "shop", stdin=text)

    assert (ran.code, ran.out) == (2, "")
    assert "its namespace is bank, but -n names shop: pass -n bank, or leave -n out" in ran.err


def test_a_pod_is_named_or_in_a_file(livery: Livery) -> None:
    ran = livery("explain", "pod", "web-0", "-f", "-", stdin=POD)

    assert ran.code == 2
    assert "not both" in ran.err


def test_objects_without_a_pod_are_passed_over(livery: Livery) -> None:
    ran = livery("explain", "pod", "-f", "-", stdin="kind: Secret\n---\n" + POD)

    assert ran.code == 0
    assert ran.out.startswith("Pod ")
    assert "Secret default" not in ran.out


def test_files_without_a_pod_are_an_error(livery: Livery) -> None:
    ran = livery("explain", "pod", "-f", "-", stdin="kind: Secret\n---\nkind: ConfigMap\n")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "livery: the files contain no pod or pod template, only ConfigMap, Secret\n"


def test_what_would_be_written_is_shown_with_its_values(livery: Livery) -> None:
    lines = livery("explain", "pod", "-f", "-", "--patch", stdin=POD).out.splitlines()

    written = lines.index("  add     /metadata/annotations/prometheus.io~1port") + 1
    assert lines[written].strip() == '"16090"'
    assert '            "name": "livery-proxy",' in lines


def test_nothing_to_explain_is_a_wrong_call(livery: Livery) -> None:
    assert livery("explain").code == 2
    assert livery("explain", "node").code == 2


def test_what_a_terminal_would_obey_is_escaped(livery: Livery) -> None:
    text = POD.replace("name: web\n", 'name: "web\\e]0;owned\\a\\u202e"\n', 1)

    out = livery("explain", "pod", "-f", "-", stdin=text).out

    assert out.splitlines()[0] == "Pod default/web\\x1b]0;owned\\x07\\u202e"
