"""Generated pods: ordinary, odd, and broken in one place."""

import copy
from typing import Any

from hypothesis import strategies as st

from injector.model.cluster import names

Json = dict[str, Any]

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_UNKNOWN = st.dictionaries(st.sampled_from(["futureA", "futureB"]), JSON, max_size=2)
_NAMES = ["web", "db", "log", "istio-proxy", "linkerd-init", "agent", "setup"]
_PORT = st.one_of(st.integers(1, 65535), st.sampled_from([8080, 16090, 16091, 16092]))
_PORTS = st.lists(
    st.builds(lambda number, name: {"containerPort": number, "name": name}, _PORT,
              st.sampled_from(["http", "metrics", "tls"])), max_size=3)  # fmt: skip
_AMOUNTS = st.fixed_dictionaries(
    {}, optional={"cpu": st.sampled_from(["1", "100m", 2]), "memory": st.just("1Gi")}
)
_RESOURCES = st.fixed_dictionaries({}, optional={"requests": _AMOUNTS, "limits": _AMOUNTS})


def _optional_list(items: st.SearchStrategy[Json]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(items, max_size=3, unique_by=lambda item: str(item["name"]))


def _container(**more: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    return st.builds(
        lambda fixed, unknown: {**fixed, **unknown},
        st.fixed_dictionaries(
            {"name": st.sampled_from(_NAMES)},
            optional={"ports": _PORTS, "resources": _RESOURCES, **more},
        ),
        _UNKNOWN,
    )


_VALUES = {
    names.INJECT: ["true", "true", "false", "ture", ""],
    names.PORT: ["9900", "0", "16090", "x", "65535"],
    names.TARGETS: ["web=http://:8080", "http://:http/m", "a=b,,c", "@evil.example/x", "//", ""],
    names.SIDECAR: ["native", "container", "other"],
    names.FILTER: ["metricaccess", "none", "?"],
    names.JOB: ["front", "a b", "x" * 300],
    names.NAMESPACE_LABEL: ["namespace", "0"],
    names.STATUS: ["{}", "[]"],
    names.ORIGINAL: ["{}", "null"],
    **{key: ["1", "64Mi", "-1", "1e400", "²"] for key in names.RESOURCES.values()},
    "prometheus.io/scrape": ["true", "true", "false", "no"],
    "prometheus.io.scrape": ["true"],
    "prometheus.io/port": ["8080", "http", "0", "015020", "65536", "²", ""],
    "prometheus-io/port": ["9090", "metrics"],
    "prometheus.io/path": ["/m", "/m?a=$(B)", "m", "/\r\n", "/" + "x" * 10_000],
    "prometheus_io_scheme": ["http", "https", "HTTPS", "gopher"],
    "team.example/owner": ["a"],
}
ANNOTATIONS = st.fixed_dictionaries(
    {}, optional={key: st.sampled_from(values) for key, values in _VALUES.items()}
)
_LABELS = st.dictionaries(st.sampled_from(["app", names.PROXY_LABEL]), st.just("x"))
_METADATA = st.fixed_dictionaries(
    {"name": st.just("p"), "annotations": st.none() | ANNOTATIONS},
    optional={"labels": st.none() | _LABELS, "futureMeta": JSON},
)
_SPEC = st.fixed_dictionaries(
    {
        "containers": st.lists(
            _container(), min_size=1, max_size=3, unique_by=lambda c: str(c["name"])
        )
    },
    optional={
        "initContainers": _optional_list(_container(restartPolicy=st.just("Always"))),
        "volumes": _optional_list(
            st.sampled_from([{"name": "livery-token"}, {"name": "data", "emptyDir": {}}])
        ),
        "imagePullSecrets": _optional_list(st.sampled_from([{"name": "mine"}, {"name": "pull"}])),
        "securityContext": st.sampled_from([None, {}, {"runAsUser": 0}, {"runAsUser": 7}]),
        "resources": st.sampled_from([None, {}, {"limits": {"cpu": "2"}}]),
        "restartPolicy": st.sampled_from(["Always", "Never"]),
        "hostNetwork": st.booleans(),
        "futureSpec": JSON,
    },
)

PODS: st.SearchStrategy[Json] = st.fixed_dictionaries(
    {"metadata": _METADATA, "spec": _SPEC}, optional={"status": JSON}
)
"""Pods as the API server could send them, with every mistake that an author can make."""


def _ask(pod: Json) -> Json:
    annotations = {**(pod["metadata"]["annotations"] or {}), names.INJECT: "true"}
    return {**pod, "metadata": {**pod["metadata"], "annotations": annotations}}


ASKING_PODS = PODS.map(_ask)


def _paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = list(value.items()) if isinstance(value, dict) else []
    items = list(enumerate(value)) if isinstance(value, list) else items
    for key, inner in items:
        found += _paths(inner, (*path, key))
    return found


@st.composite
def broken_pods(draw: st.DrawFn) -> Json:
    """Draw a pod in which one part is replaced by other JSON."""
    pod: Json = copy.deepcopy(draw(ASKING_PODS))
    *parents, last = draw(st.sampled_from(_paths(pod)))
    found: Any = pod
    for key in parents:
        found = found[key]
    found[last] = draw(JSON)
    return pod
