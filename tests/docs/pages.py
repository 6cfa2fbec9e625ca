"""Regions of the pages of docs/ that are rendered from code; a test keeps them equal.

`pytest tests/docs --update-golden` rewrites them.
"""

import argparse
import ast
import inspect
import io
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import EnumType
from itertools import pairwise
from pathlib import Path
from typing import Any

from injector.__main__ import build_parser as build_livery_parser
from injector.model.access.reasons import ReadyReason
from injector.model.admission.decide import decide
from injector.model.admission.outcomes import Reason, WarningCode
from sidecar.commands.check_config import check_config
from sidecar.control.sending import Loss
from sidecar.model.described import Described
from sidecar.roles.aggregate.settings import build_parser as build_aggregate_parser
from sidecar.roles.gateway.settings import build_parser as build_gateway_parser
from sidecar.roles.node.settings import build_parser as build_node_parser
from sidecar.roles.pod.settings import build_parser as build_proxy_parser
from tests.docs.errors import render_examples, render_trees
from tests.docs.metrics import (
    Metric,
    aggregate_metrics,
    gateway_metrics,
    injector_metrics,
    node_metrics,
    pod_metrics,
    proxy_metrics,
    target_metrics,
)
from tests.injector.admission_cases import CASES, TABLE, read_case, read_expected
from tests.real_parts.chart import render_chart

DOCS = Path(__file__).parent.parent.parent / "docs"
_WITHOUT_ROWS = (argparse._HelpAction, argparse._SubParsersAction, argparse._VersionAction)


def sentences(enum: EnumType) -> dict[str, str]:
    """Return the sentence under each member of an enum, by its value."""
    (body,) = (
        node.body
        for node in ast.parse(textwrap.dedent(inspect.getsource(enum))).body
        if isinstance(node, ast.ClassDef)
    )
    found = {}
    for assignment, text in pairwise(body):
        if isinstance(assignment, ast.Assign) and isinstance(text, ast.Expr):
            sentence = ast.literal_eval(text.value)
            found[ast.literal_eval(assignment.value)] = " ".join(sentence.split())
    return found


def _described(enum: type[Described]) -> Iterator[tuple[str, str]]:
    yield from ((member.value, member.sentence) for member in enum)


def _checked_config() -> str:
    out = io.StringIO()
    check_config(DOCS.parent / "examples/gateway/multi-tenant-proxy.yaml", out, out)
    return f"```yaml\n{out.getvalue()}```\n"


def _contracts() -> str:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    return "".join(f"* {contract['name']}.\n" for contract in contracts)


def _metrics(metrics: Iterable[Metric]) -> str:
    rows = ((f"`{item.name}`", item.kind, item.help, f"`{_example(item)}`") for item in metrics)
    return table(("name", "type", "what it says", "for example"), rows)


_LABEL_VALUES = {
    "webhook": "inject", "reason": "injected", "dry_run": "false", "code": "200", "status": "401",
    "certificate": "leaf", "namespace": "shop", "kind": "Namespace", "version": "0.1.0",
    "target": "http://:8080/metrics", "container": "web", "endpoint": "/metrics/cadvisor",
    "rule": "to-own-prometheus", "pod": "web-0", "state": "up", "path": "/api/v1/query", "backend": "http://prometheus:9090",
}  # fmt: skip

_OWN_VALUES = {
    "livery_admission_warnings_total": {"code": "bad-annotation"},
    "livery_aggregate_target_failures_total": {"kind": "timeout"},
    "livery_aggregate_unready": {"reason": "pods"},
    "livery_gateway_forward_samples_lost_total": {"reason": "queue_full"},
    "livery_proxy_forward_samples_lost_total": {"reason": "queue_full"},
    "livery_gateway_unready": {"reason": "policy"},
    "livery_gateway_refused_total": {"reason": "query"},
    "livery_node_unready": {"reason": "namespaces"},
    "livery_proxy_unready": {"reason": "access-rules"},
}


def _example(metric: Metric) -> str:
    name = f"{metric.name}_bucket" if metric.kind == "histogram" else metric.name
    values = {label: _LABEL_VALUES[label] for label in metric.labels}
    values |= _OWN_VALUES.get(metric.name, {})
    if metric.kind == "histogram":
        values["le"] = "0.01"
    pairs = ",".join(f'{label}="{value}"' for label, value in values.items())
    return f"{name}{{{pairs}}}" if pairs else name


def _reasons() -> str:
    rows = ((f"`{code}`", text, _case("reason", code)) for code, text in _described(Reason))
    return table(("reason", "what it means", "example"), rows)


def _warnings() -> str:
    rows = (
        (f"`{code}`", text, _warning(code), _case("warnings", code))
        for code, text in sentences(WarningCode).items()
    )
    return table(("code", "what it means", "as a user sees it", "example"), rows)


_ELSEWHERE: dict[str, str] = {
    Reason.NOT_A_POD: "somebody's own webhook sends Deployments to `/mutate`",
    Reason.NOT_A_CREATE: "somebody's own webhook sends a pod's UPDATE to `/mutate`",
    Reason.INTERNAL_ERROR: "a fault of Livery's: the log has its traceback",
    Reason.NOT_A_PROXY: "a DaemonSet labelled `livery.dev/role: other`, sent to `/prepare`",
}
"""Reasons that no case shows."""


def _case(field: str, value: str) -> str:
    """Link the first case with this outcome."""
    for name in sorted(CASES):
        expected = getattr(read_expected(name), field)
        if value in (expected if isinstance(expected, list) else [expected]):
            file = "cases.yaml" if name in TABLE else f"{name}/input.yaml"
            return f"[{name}](../tests/golden/{file})"
    return _ELSEWHERE[value]


def _warning(code: str) -> str:
    for name in sorted(CASES):
        case = read_case(name)
        kind = case.obj.get("kind")
        if kind not in ("Pod", "Job"):
            continue
        pod = case.obj if kind == "Pod" else case.obj["spec"]["template"]
        for warning in decide(pod, case.namespace, case.cluster, case.platform).warnings:
            if warning.code == code:
                return f"`{warning}`"
    return "–"


def _platform() -> str:
    return f"```yaml\n{(DOCS.parent / 'examples' / 'platform.yaml').read_text()}```\n"


def _commands(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        for command, child in action.choices.items():
            whole = f"{name} {command}"
            yield f"## `{whole}`\n"
            if child.description:
                yield f"{' '.join(child.description.split())}\n"
            if examples := (child.epilog or "").partition("examples:\n")[2]:
                lines = [line.removeprefix("  ") for line in examples.splitlines()]
                yield "\n".join(["```text", *lines, "```", ""])
            if options := _options(child):
                yield options
            yield from _commands(child, whole)


def _options(parser: argparse.ArgumentParser) -> str:
    rows = []
    for action in parser._actions:
        if isinstance(action, _WITHOUT_ROWS):
            continue
        names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.dest}`"
        choices = "/".join(action.choices or ()) or "…"
        value = action.metavar or ("" if action.nargs == 0 else choices)
        # Of some values, such as paths, what they say depends on where it is asked.
        default = "" if action.default in (None, False, "", []) else f"`{action.default}`"
        text = re.sub(r"\s*\(%\(default\)s\)", "", action.help or "")
        rows.append((f"{names} {value}".strip(), default, text.replace("|", "\\|")))
    return table(("option", "default", "what it does"), rows) if rows else ""


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Write a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join([*lines, ""])


def _sentences_of(enum: type[Described], *head: str) -> str:
    return table(head, ((f"`{code}`", text) for code, text in _described(enum)))


def _fields_of_metricaccess() -> str:
    (definition,) = render_chart("templates/crd-metricaccess.yaml")
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    rows = [
        (f"`{path}`", kind, text)
        for part in ("spec", "status")
        for path, kind, text in _fields(schema["properties"][part], part)
    ]
    return table(("field", "type", "what it says"), rows)


def _fields(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    for name, field in schema.get("properties", {}).items():
        below = f"{path}.{name}"
        if path.endswith(".remoteWrite") and name in _BESIDE and path.startswith("spec"):
            continue  # described under `target`
        items = field.get("items", {})
        yield below, _type_of(field), field["description"]
        yield from _fields(field, below)
        yield from _fields(items, f"{below}[]")


_BESIDE = ("prometheus", "pushgateway", "remoteWrite")


def _type_of(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{item}`" for item in field["enum"])
    if field["type"] == "array":
        return f"list of {field['items']['type']}s"
    return "map of strings" if "additionalProperties" in field else str(field["type"])


REGIONS: dict[str, Callable[[], str]] = {
    "metrics of the injector": lambda: _metrics(injector_metrics()),
    "metrics of a proxy": lambda: _metrics(proxy_metrics()),
    "metrics of a node proxy": lambda: _metrics(node_metrics()),
    "metrics of an aggregate": lambda: _metrics(aggregate_metrics()),
    "metrics of a gateway": lambda: _metrics(gateway_metrics()),
    "metrics of pods": lambda: _metrics(pod_metrics()),
    "metrics of targets": lambda: _metrics(target_metrics()),
    "losses": lambda: _sentences_of(
        Loss, "reason", "samples that a receiver does not have because"
    ),
    "ready reasons": lambda: _sentences_of(ReadyReason, "condition `Ready`", "what it means"),
    "fields of MetricAccess": _fields_of_metricaccess,
    "reasons": _reasons,
    "warnings": _warnings,
    "platform": _platform,
    "options of the proxy": lambda: _options(build_proxy_parser()),
    "options of the node proxy": lambda: _options(build_node_parser()),
    "options of the aggregate": lambda: _options(build_aggregate_parser()),
    "options of the gateway": lambda: _options(build_gateway_parser()),
    "check config": _checked_config,
    "commands": lambda: "\n".join(_commands(build_livery_parser([]), "livery")),
    "examples of errors": render_examples,
    "errors": render_trees,
    "contracts": _contracts,
}
"""The content between `<!-- code: NAME -->` and `<!-- /code -->` on a page of docs/."""
_REGION = re.compile(r"<!-- code: (.+?) -->\n.*?<!-- /code -->", re.DOTALL)


def fill(page: str) -> str:
    """Return a page with its regions rendered from the current code."""
    return _REGION.sub(
        lambda found: f"<!-- code: {found[1]} -->\n{REGIONS[found[1]]()}<!-- /code -->", page
    )


def regions_of(page: str) -> list[str]:
    """Name the regions of a page."""
    return _REGION.findall(page)
