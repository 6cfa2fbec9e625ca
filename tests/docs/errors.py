"""docs/errors.md: every error of the packages, with calls that provoke it."""

import inspect
from collections.abc import Callable
from pathlib import Path

import webhook_certs.errors

import injector.errors
import sidecar.errors
from injector.files.manifests import read_manifests
from injector.files.rules import read_rules
from injector.model.access.metricaccess import parse_metric_access
from injector.model.admission.reviews import parse_review
from injector.platform.document import parse_platform
from sidecar.control.policy_file import read_policy_file
from sidecar.model.exposition.formats import Escaping, Format
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.series_cache import SeriesCache
from sidecar.model.labels.relabel import parse_rules
from sidecar.model.policy.pod import parse_pod_policy
from sidecar.model.policy.series import SeriesPolicy
from sidecar.model.rewrite.context import RewriteContext
from sidecar.model.rewrite.rewriter import SeriesRewriter
from sidecar.model.targets import parse_target


def _read(text: str, limits: Limits | None = None) -> object:
    rewriter = SeriesRewriter(SeriesPolicy(), RewriteContext(), Escaping.ALLOW_UTF8)
    return SeriesCache(rewriter, Format.TEXT, limits or Limits()).read(text.encode())


_RULE = {"sourceLabels": ["a"], "regex": "(", "targetLabel": "b"}
_PLATFORM = {"image": {"pullPolicy": "Sometimes"}}
_TWICE = "- action: drop\n  action: keep\n"
_EXAMPLES: tuple[tuple[str, Callable[[], object]], ...] = (
    ("a target exposes `up{job=\"a\" 1`", lambda: _read('up{job="a" 1\n')),
    ("a target exposes more than it may", lambda: _read("a 1\nb 2\n", Limits(samples=1))),
    ("a rule with `regex: (`", lambda: parse_rules([_RULE], "metricRelabelings")),
    ("`--policy none.yaml`", lambda: read_policy_file(Path("none.yaml"), parse_pod_policy)),
    ("a policy of a newer injector", lambda: parse_pod_policy({"schema": 99})),
    ("`--target http://db:5432/metrics`", lambda: parse_target("http://db:5432/metrics")),
    ("`image: {pullPolicy: Sometimes}`", lambda: parse_platform(_PLATFORM)),
    ("`livery relabel -f rules.yaml` with a key twice", lambda: read_rules(_TWICE, "rules.yaml")),
    ("a request to `/mutate` that is no review", lambda: parse_review(b"{}")),
    ("a file of manifests that is not YAML", lambda: read_manifests("kind: [\n", "world/a.yaml")),
    ("an object without a name", lambda: parse_metric_access({"metadata": {"name": 7}})),
)  # fmt: skip


def render_trees() -> str:
    """Write the tree of each package's errors."""
    modules = (sidecar.errors, injector.errors, webhook_certs.errors)
    trees = [inspect.cleandoc(module.__doc__ or "") for module in modules]
    return "\n".join(f"```text\n{tree}\n```\n" for tree in trees)


def render_examples() -> str:
    """Render a table of errors, what provokes them, and their messages."""
    rows = [_provoke(text, act) for text, act in _EXAMPLES]
    return "\n".join(["| error | provoked by | says |\n|---|---|---|", *rows, ""])


def _provoke(text: str, act: Callable[[], object]) -> str:
    try:
        act()
    except (sidecar.errors.LiveryError, injector.errors.InjectorError) as error:
        said = str(error).replace("|", "\\|")
        return f"| `{type(error).__name__}` | {text} | `{said}` |"
    raise AssertionError(f"{text}: nothing was wrong")
