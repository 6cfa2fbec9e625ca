import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from injector.files.manifests import read_manifests, write_manifests
from tests.injector.conftest import Livery

_ASKS = '    annotations: {prometheus.io/scrape: "true"}\n'
POD = f"kind: Pod\nmetadata:\n    name: web\n{_ASKS}spec:\n    containers: [{{name: web}}]\n"
SILENT = "kind: Pod\nmetadata: {name: quiet}\nspec: {containers: [{name: a}]}\n"
_TEMPLATE: dict[str, Any] = {
    "metadata": {"annotations": {"prometheus.io/scrape": "true"}},
    "spec": {"containers": [{"name": "web"}]},
}
_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job")


def _objects(text: str) -> list[dict[str, Any]]:
    return [manifest.obj for manifest in read_manifests(text, "out")]


def test_standard_input_is_injected_to_standard_output(livery: Livery) -> None:
    ran = livery("inject", "-f", "-", stdin=POD)

    assert ran.code == 0
    assert _objects(ran.out)[0]["spec"]["initContainers"][0]["name"] == "livery-proxy"
    assert ran.err.splitlines()[0] == "Pod default/web: injected: the proxy was added (injected)"


def test_reasons_and_warnings_go_to_standard_error(livery: Livery) -> None:
    ran = livery("inject", "-f", "-", "-n", "shop", stdin=SILENT)

    assert _objects(ran.out) == _objects(SILENT)
    assert ran.err == (
        "Pod shop/quiet: left alone: neither livery.dev/inject nor prometheus.io/scrape "
        'is "true" (not-annotated)\n'
    )


def test_a_warning_names_the_object_and_its_code(livery: Livery) -> None:
    ran = livery("inject", "-f", "-", stdin=POD.replace('"true"', '"true", livery.dev/filter: x'))

    assert "Pod default/web: warning: annotation livery.dev/filter: 'x'" in ran.err
    assert "(bad-annotation)\n" in ran.err


def test_many_documents_stay_in_their_order(livery: Livery, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"{SILENT}---\n---\n{POD}---\nkind: Secret\n")

    ran = livery("inject", "-f", tmp_path / "a.yaml", "-f", "-", stdin=POD)

    assert ran.code == 0
    assert [item["kind"] for item in _objects(ran.out)] == ["Pod", "Pod", "Secret", "Pod"]
    assert ["initContainers" in item.get("spec", {}) for item in _objects(ran.out)] == [
        False, True, False, True]  # fmt: skip


def test_a_list_stays_a_list_and_uninject_gives_it_back(livery: Livery) -> None:
    items = [*_objects(POD), None, {}, {"kind": "List", "items": _objects(SILENT)}]
    text = write_manifests([{"kind": "PodList", "items": items}])

    ran = livery("inject", "-f", "-", stdin=text)

    assert [item["metadata"]["name"] for item in _objects(ran.out)] == ["web", "quiet"]
    assert yaml.safe_load(ran.out)["items"][1:3] == [None, {}]
    restored = livery("uninject", "-f", "-", stdin=ran.out).out
    assert yaml.safe_load(restored) == yaml.safe_load(text)


def test_what_aliases_share_is_not_changed_together(livery: Livery) -> None:
    text = (
        "kind: Deployment\nspec:\n  selector: {matchLabels: &l {app: web}}\n  template:\n"
        "    metadata: {labels: *l, annotations: {prometheus.io/scrape: 'true'}}\n"
        "    spec: {containers: [{name: a}], initContainers: &e [], volumes: *e}\n"
    )

    spec = _objects(livery("inject", "-f", "-", stdin=text).out)[0]["spec"]

    assert spec["selector"]["matchLabels"] == {"app": "web"}
    assert [item["name"] for item in spec["template"]["spec"]["volumes"]] == ["livery-token"]


def test_comments_quotes_and_the_order_of_keys_survive_both_ways(livery: Livery) -> None:
    text = f"# the front\n{POD}status: {{}}   # none\n"
    injected = livery("inject", "-f", "-", stdin=text).out

    assert injected.startswith("# the front\nkind: Pod\n")
    assert injected.endswith("status: {}   # none\n")
    assert '"true"' in injected
    restored = livery("uninject", "-f", "-", stdin=injected).out
    assert restored.startswith("# the front\nkind: Pod\n")
    assert restored.endswith("status: {}   # none\n")


def test_what_no_change_is_made_to_comes_out_as_it_went_in(livery: Livery) -> None:
    text = f"---\n{SILENT}# the end"

    assert livery("inject", "-f", "-", stdin=text).out == text


def test_files_come_out_as_one_stream(livery: Livery, tmp_path: Path) -> None:
    for name, text in (("a", "kind: A"), ("b", "---\nkind: B\n"), ("c", "kind: C\n")):
        (tmp_path / name).write_text(text)

    ran = livery("inject", *(arg for name in "abc" for arg in ("-f", tmp_path / name)))

    assert ran.out == "kind: A\n---\nkind: B\n---\nkind: C\n"


@pytest.mark.parametrize(
    ("arguments", "manifests", "warns"),
    [
        ([], "", ["names no registry", "labels of namespace default are not known"]),
        (["--image", "registry.example/livery-sidecar:1"], "", ["labels of namespace default"]),
        (["--namespace-label", "team=a"], "", ["names no registry"]),
        (["--image", "r/s:1"], "kind: Namespace\nmetadata: {name: default, labels: {a: b}}\n---\n",
         []),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_cluster_would_have_known_is_asked_for(
    livery: Livery, arguments: list[str], manifests: str, warns: list[str]
) -> None:
    ran = livery("inject", "-f", "-", *arguments, stdin=manifests + POD)

    warnings = [line for line in ran.err.splitlines() if line.startswith("livery: warning: ")]
    assert len(warnings) == len(warns)
    assert all(text in line for text, line in zip(warns, warnings, strict=True))
    if "--image" in arguments:
        assert f"image: {arguments[1]}\n" in ran.out


def test_settings_of_a_file_and_of_a_cluster_exclude_each_other(
    livery: Livery, tmp_path: Path
) -> None:
    ran = livery("inject", "-f", "-", "--from-cluster", "--platform", tmp_path, stdin=POD)

    assert (ran.code, ran.out) == (2, "")
    assert "--from-cluster must not be combined with --platform" in ran.err


@pytest.mark.parametrize("kind", _KINDS)
def test_the_template_of_each_workload_is_injected(livery: Livery, kind: str) -> None:
    obj = {"kind": kind, "metadata": {"name": "w"}, "spec": {"replicas": 2, "template": _TEMPLATE}}

    ran = livery("inject", "-f", "-", stdin=write_manifests([obj]))

    spec = _objects(ran.out)[0]["spec"]
    assert spec["replicas"] == 2
    assert spec["template"]["spec"]["initContainers"][0]["name"] == "livery-proxy"


@pytest.mark.parametrize(
    "obj",
    [
        {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": _TEMPLATE}}}},
        {"kind": "PodTemplate", "template": _TEMPLATE},
    ],
    ids=["CronJob", "PodTemplate"],
)
def test_templates_elsewhere_are_found(livery: Livery, obj: dict[str, Any]) -> None:
    ran = livery("inject", "-f", "-", stdin=write_manifests([obj]))

    assert ran.out.count("name: livery-proxy") == 1


@pytest.mark.parametrize(
    "obj",
    [
        {"kind": "Deployment"},
        {"kind": "Deployment", "spec": None},
        {"kind": "Deployment", "spec": {"template": []}},
        {"kind": "CronJob", "spec": {"jobTemplate": "x"}},
        {"kind": "ConfigMap", "data": {"template": "x"}},
        {"kind": "ListOfThings", "items": 1},
    ],
    ids=str,
)
def test_objects_without_a_pod_pass_through(livery: Livery, obj: dict[str, Any]) -> None:
    ran = livery("inject", "-f", "-", stdin=write_manifests([obj]))

    assert (ran.code, _objects(ran.out)) == (0, [obj])
    assert ran.err == (
        f"{obj['kind']} default/?: unchanged: "
        "it contains no pod, and no pod template at spec.template\n"
    )


def test_the_namespace_and_limit_range_of_the_manifests_count(livery: Livery) -> None:
    cluster = (
        "kind: Namespace\nmetadata: {name: shop, labels: {team: blue, tier: x}}\n---\n"
        "kind: LimitRange\nmetadata: {name: l}\n"
        "spec: {limits: [{type: Container, max: {cpu: 100m}}]}\n---\n"
    )

    ran = livery("inject", "-f", "-", "-n", "shop", "--namespace-label", "tier=y",
                 stdin=cluster + POD)  # fmt: skip

    proxy = _objects(ran.out)[-1]["spec"]["initContainers"][0]
    assert {"name": "LIVERY_NAMESPACE_LABELS", "value": "team=blue,tier=y"} in proxy["env"]
    assert proxy["resources"]["limits"]["cpu"] == "100m"


def test_without_a_control_ca_no_control_service_is_named(livery: Livery, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\nPEM\n")

    without = livery("inject", "-f", "-", stdin=POD)
    given = livery("inject", "-f", "-", "--control-ca", tmp_path / "ca.pem", stdin=POD)

    assert "LIVERY_CONTROL" not in without.out
    assert "      value: |\n        -----BEGIN CERTIFICATE-----\n        PEM\n" in given.out


def test_a_difference_is_shown_instead(livery: Livery) -> None:
    ran = livery("inject", "-f", "-", "--diff", stdin=POD)

    assert ran.code == 0
    assert ran.out.startswith("--- before\n+++ after\n@@")
    assert "+  - name: livery-proxy\n" in ran.out.replace("+    - name", "+  - name")


def test_no_difference_is_empty(livery: Livery) -> None:
    assert livery("inject", "-f", "-", "--diff", stdin=SILENT).out == ""


def test_injected_twice_is_injected_once(livery: Livery) -> None:
    once = livery("inject", "-f", "-", stdin=POD).out

    twice = livery("inject", "-f", "-", stdin=once)

    assert twice.out == once
    assert "(already-injected)" in twice.err


@pytest.mark.parametrize("kind", _KINDS)
def test_uninject_gives_the_manifest_back(livery: Livery, kind: str) -> None:
    obj = {"kind": kind, "metadata": {"name": "w"}, "spec": {"template": _TEMPLATE}}
    injected = livery("inject", "-f", "-", stdin=write_manifests([obj])).out

    ran = livery("uninject", "-f", "-", stdin=injected)

    assert (ran.code, _objects(ran.out)) == (0, [obj])
    assert ran.err == f"{kind} default/w: the proxy was removed\n"


def test_uninject_says_where_there_is_nothing(livery: Livery) -> None:
    ran = livery("uninject", "-f", "-", stdin=POD)

    assert (_objects(ran.out), ran.err) == (_objects(POD), "Pod default/web: no proxy to remove\n")


def test_uninject_names_the_note_that_was_changed(livery: Livery) -> None:
    injected = livery("inject", "-f", "-", stdin=POD).out
    broken = injected.replace("""livery.dev/status: '{""", """livery.dev/status: 'x{""")

    ran = livery("uninject", "-f", "-", stdin=broken)

    assert ran.code == 1
    assert ran.err == (
        "livery: standard input:1: metadata.annotations.livery.dev/status: "
        "not the JSON Livery wrote\n"
    )


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        (b"", "standard input: it contains no object"),
        (b"# nothing\n---\n", "it contains no object"),
        (b"\xff", "standard input: not UTF-8"),
        (b"kind: Pod\na: [1\n", "standard input:3: "),
        (b"kind: Pod\n\ta: 1\n", "standard input:2: "),
        (b"kind: Pod\nkind: Pod\n", "standard input:2: duplicate key 'kind'"),
        (b"a: 1\n", "standard input:1: a document has no kind"),
        (b"kind: Pod\n---\n- a\n", "standard input:3: a document is not a mapping"),
        (b"kind: List\nitems: [1]\n", "items of a List must be mappings"),
        (b"kind: Pod\na: " + b"[" * 100_000, "standard input:2: nested too deeply"),
        (b"kind: Pod\na: &a [*a]\n", "nested too deeply"),
        (b"kind: Pod\na: !!binary aGk=\n", "standard input:2: could not determine"),
        (b"kind: Pod\na: !!python/name:os.system\n", "standard input:2: could not determine"),
        (b"kind: Pod\n? [a]\n: b\n", "standard input:2: a key is not a scalar"),
        (b"kind: Pod\na: \x01\n", "standard input:2: not YAML: control characters"),
        (b"kind: Pod\nmetadata: []\n", "standard input:1: metadata: a mapping is needed"),
        (b"kind: Namespace\nmetadata: {labels: []}\n", "standard input:1: metadata.name"),
    ],
    ids=lambda value: repr(value)[:40],
)
@pytest.mark.parametrize("command", ["inject", "explain"])
def test_manifests_that_cannot_be_used_exit_1(
    livery: Livery, command: str, stdin: bytes, says: str
) -> None:
    what = ["pod"] if command == "explain" else []

    ran = livery(command, *what, "-f", "-", stdin=stdin)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("livery: ")
    assert says in ran.err
    assert ran.err.count("\n") == 1


def test_aliases_may_not_multiply_without_bound(livery: Livery) -> None:
    lines = ["kind: Pod", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    ran = livery("inject", "-f", "-", stdin="\n".join(lines))

    assert ran.code == 1
    assert "more than 500000 nodes" in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name manifests with -f FILE"),
        (["-f", "/does/not/exist.yaml"], "/does/not/exist.yaml"),
        (["-f", "tests"], "tests: the folder contains no .yaml"),
        (["-f", "-", "--namespace-label", "team"], "--namespace-label: 'team'"),
        (["-f", "-", "--namespace-label", "a=b,c=d"], "--namespace-label: 'a=b,c=d'"),
        (["-f", "-", "--namespace-label", "=b"], "--namespace-label: '=b'"),
        (["-f", "-", "--platform", "/does/not/exist"], "/does/not/exist"),
        (["-f", "-", "--control-ca", "/does/not/exist"], "/does/not/exist"),
    ],
    ids=str,
)
def test_a_wrong_call_exits_2_and_names_the_argument(
    livery: Livery, arguments: list[str], says: str
) -> None:
    ran = livery("inject", *arguments, stdin=POD)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("livery: ")
    assert says in ran.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("imagee: {}", "imagee: not a setting"),
        ("image: {reference: 1}", "image.reference: a string is needed"),
        ("a: ]", "platform.yaml:1: "),
        ("image: {}\n---\nimage: {}\n", "must be one YAML document, not 2"),
    ],
)
def test_wrong_settings_exit_2_and_name_the_field(
    livery: Livery, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "platform.yaml").write_text(text)

    ran = livery("inject", "-f", "-", "--platform", tmp_path / "platform.yaml", stdin=POD)

    assert ran.code == 2
    assert says in ran.err


_TEXTS = ["on", "off", "y", "N", "yes", "null", "~", "", "22:22", "1e3", "1_000", "0o7", "010",
          "0x1F", ".5", "+1", "-", "=", "<<", "2024-01-01", "2024-01-01T00:00:00Z", ".inf", "1.",
          "-----BEGIN CERTIFICATE-----\nMIIB\nab==\n-----END CERTIFICATE-----\n", "a\n", "a\n\n",
          "\na", " a", "a ", "a\n b", "a \nb", "\ta", "a: b", "# a", "- a", "'", '"', "@a", "%a",
          "é\u2028ü", "\x85", "\u2029\n", "\x7f", "\ufeff", "a\r\nb", "😀", "x" * 300]  # fmt: skip


@pytest.mark.parametrize("text", _TEXTS, ids=ascii)
def test_texts_are_written_as_texts(text: str) -> None:
    obj = {"kind": "X", "text": text, "list": [text], "map": {"key": {"deep": text}}}
    written = write_manifests([obj, obj])

    assert _objects(written) == [obj, obj]
    assert _read_as_go_does(written)["text"] == text


def _read_as_go_does(text: str) -> Any:
    """Read as YAML 1.1 with the broadest rules for scalars that are not strings."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: list(items) for first, items in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    wide = re.compile(r"[-+]?(0o?[0-7]+|\d[\d_]*(\.\d*)?([eE][-+]?\d+)?|[yYnN])\Z")
    Loader.add_implicit_resolver("tag:yaml.org,2002:null", wide, list("-+0123456789yYnN"))
    return next(iter(yaml.load_all(text, Loader=Loader)))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_is_read_back_equal(text: str) -> None:
    obj = {"kind": "X", text: {"v": text}}

    assert _objects(write_manifests([obj])) == [obj | {"kind": obj["kind"]}]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", True), ("y", True), ("n", False), ("off", False), ("~", None), ("", None),
        ("1e3", 1000.0), ("0x10", 16), ("0o10", 8), ("010", 8), ("1_000", 1000), (".5", 0.5),
        ("22:22", "22:22"), ("2024-01-01", "2024-01-01"), ("=", "="), ("1.2.3", "1.2.3"),
        ("100m", "100m"), ("nope", "nope"), ("'1'", "1"), ("!!str 1", "1"),
    ],
)  # fmt: skip
def test_scalars_are_read_as_kubernetes_reads_them(written: str, value: object) -> None:
    read = _objects(f"kind: X\nv: {written}\n")[0]["v"]

    assert (read, type(read)) == (value, type(value))


def test_keys_are_texts_whatever_they_look_like() -> None:
    text = "kind: X\n80: a\non: b\n1e3: c\n~: d\n"

    assert list(_objects(text)[0]) == ["kind", "80", "on", "1e3", "~"]


def test_a_file_of_windows_is_read() -> None:
    assert _objects("\ufeffkind: X\r\na: |\r\n  b\r\n") == [{"kind": "X", "a": "b\n"}]


def test_a_private_key_never_gets_into_a_manifest(livery: Livery, tmp_path: Path) -> None:
    path = tmp_path / "authorities.json"
    path.write_text('{"key": "-----BEGIN PRIVATE KEY-----"}')

    ran = livery("inject", "-f", "-", "--control-ca", str(path), stdin=POD)

    assert (ran.code, ran.out) == (2, "")
    assert "contains a private key" in ran.err
