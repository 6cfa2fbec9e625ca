import pytest

from sidecar.model.exposition.families import Row
from sidecar.model.exposition.formats import Escaping, Format, Negotiated
from sidecar.model.exposition.limits import Limits
from sidecar.model.exposition.lines import CacheRoom
from sidecar.model.policy.aggregate import parse_aggregate_policy
from sidecar.model.policy.series import SeriesPolicy
from sidecar.scrape.fetch import Fetched
from sidecar.scrape.pods.settings import OnConflict, PodsSettings
from sidecar.scrape.pods.targets import PodTarget
from sidecar.scrape.pods.view import PodsView
from tests.sidecar.scrape.pods.apps import WANTED, pod_target

_WEB = pod_target("web-0", 80)
_SEED = PodsSettings(
    namespace_label="k8s_namespace", pod_label="k8s_pod_name", moved=frozenset(["job", "instance"])
)
_KEEP = PodsSettings(on_conflict=OnConflict.KEEP)


def _policy(**document: object) -> SeriesPolicy:
    document.setdefault("namespaces", {"shop": {"team": "blue"}})
    return parse_aggregate_policy(document).policy.series


def _view(
    policy: SeriesPolicy | None = None,
    settings: PodsSettings = PodsSettings(),  # noqa: B008
    wanted: Negotiated = WANTED,
) -> PodsView:
    room = CacheRoom(1 << 20)
    return PodsView(policy or _policy(), settings, wanted, limits=Limits(), room=room)


def _expose(view: PodsView, body: bytes, target: PodTarget = _WEB) -> str:
    text = view.text_of(target, Fetched(body, "text/plain"))
    lines = view.lines_of(target)
    rows = [Row(lines.marks, lines.cache.read(text))]
    return b"".join(view.plan(rows).render(rows)).decode()


def test_series_get_the_namespaces_labels_and_the_pods_identity() -> None:
    assert _expose(_view(), b'a{b="c"} 1\n') == (
        'a{b="c",team="blue",namespace="shop",pod="web-0"} 1\n'
    )


@pytest.mark.parametrize("name", ["job", "instance", "namespace", "pod"])
def test_what_a_pod_says_of_its_identity_moves_away(name: str) -> None:
    assert _expose(_view(), b'a{%b="victim"} 1\n' % name.encode()) == (
        f'a{{exported_{name}="victim",team="blue",namespace="shop",pod="web-0"}} 1\n'
    )


def test_a_forged_protected_label_moves_away() -> None:
    policy = _policy(labelRules={"protected": ["team"]})

    assert _expose(_view(policy), b'a{team="red"} 1\n') == (
        'a{exported_team="red",team="blue",namespace="shop",pod="web-0"} 1\n'
    )


def test_with_the_seeds_names_other_labels_stay() -> None:
    view = _view(settings=_SEED)

    body = b'a{namespace="x",k8s_pod_name="y",job="z"} 1\n'
    assert _expose(view, body, pod_target("web-0", 80, settings=_SEED)) == (
        'a{namespace="x",exported_k8s_pod_name="y",exported_job="z",team="blue",'
        'k8s_namespace="shop",k8s_pod_name="web-0"} 1\n'
    )


def test_what_a_trusted_exporter_says_stays() -> None:
    policy = _policy(labelRules={"protected": ["team"]})

    assert _expose(_view(policy, _KEEP), b'a{namespace="x",team="red",job="j"} 1\nb 1\n') == (
        'a{namespace="x",team="red",job="j",pod="web-0"} 1\n'
        'b{team="blue",namespace="shop",pod="web-0"} 1\n'
    )


def test_no_rule_sets_a_pods_identity() -> None:
    rule = {"targetLabel": "pod", "replacement": "victim"}
    policy = _policy(metricRelabelings=[rule])

    assert _expose(_view(policy), b"a 1\n") == 'a{team="blue",namespace="shop",pod="web-0"} 1\n'


def test_labels_that_a_proxy_put_on_are_there_once() -> None:
    policy = _policy(labelRules={"protected": ["team"]})
    target = pod_target("web-0", 80, has_proxy=True)
    body = b'a{team="blue"} 1\nlivery_target_up{container="web",team="blue"} 1\n'

    assert _expose(_view(policy), body, target) == (
        'a{team="blue",namespace="shop",pod="web-0"} 1\n'
        'livery_target_up{container="web",team="blue",namespace="shop",pod="web-0"} 1\n'
    )


def test_a_forged_label_behind_a_pretended_proxy_moves_away() -> None:
    policy = _policy(labelRules={"protected": ["team"]})
    target = pod_target("web-0", 80, has_proxy=True)

    assert _expose(_view(policy), b'a{team="red"} 1\n', target) == (
        'a{exported_team="red",team="blue",namespace="shop",pod="web-0"} 1\n'
    )


@pytest.mark.parametrize("name", ["up", "livery_target_up", "livery_pod_samples"])
def test_an_application_has_no_metrics_of_ours(name: str) -> None:
    body = f"# TYPE {name} gauge\n{name} 5\na 1\n".encode()

    assert _expose(_view(), body) == 'a{team="blue",namespace="shop",pod="web-0"} 1\n'


def test_behind_a_proxy_only_what_it_says_of_its_targets_is_passed() -> None:
    target = pod_target("web-0", 80, has_proxy=True)

    assert "livery_pod_samples" not in _expose(_view(), b"livery_pod_samples 1\na 1\n", target)


def test_another_name_of_up_leaves_up_to_the_application() -> None:
    view = _view(settings=PodsSettings(up_name="pod_up"))

    assert _expose(view, b"up 1\npod_up 1\n") == 'up{team="blue",namespace="shop",pod="web-0"} 1\n'


def test_names_are_escaped_as_the_client_wants_them() -> None:
    dots = Negotiated(Format.TEXT, Escaping.DOTS)

    view = _view(settings=_SEED, wanted=dots)
    assert _expose(view, b"a_b 1\n", pod_target("web-0", 80, settings=_SEED)) == (
        'a__b{team="blue",k8s__namespace="shop",k8s__pod__name="web-0"} 1\n'
    )


def test_a_policy_that_changes_one_namespace_leaves_the_others_caches() -> None:
    view = _view(_policy(namespaces={"shop": {"team": "blue"}, "bank": {"team": "red"}}))
    bank = pod_target("db-0", 80, namespace="bank")
    caches = view.lines_of(_WEB), view.lines_of(bank)

    view.use(_policy(namespaces={"shop": {"team": "green"}, "bank": {"team": "red"}}), {"shop"})

    assert view.lines_of(_WEB) is not caches[0]
    assert view.lines_of(bank) is caches[1]
    assert _expose(view, b"a 1\n") == 'a{team="green",namespace="shop",pod="web-0"} 1\n'
    assert _expose(view, b"a 1\n", bank).startswith('a{team="red"')


def test_rules_that_change_empty_all_caches() -> None:
    view = _view()
    cache = view.lines_of(_WEB)

    view.use(_policy(labelRules={"prefix": "ns_"}), None)

    assert view.lines_of(_WEB) is not cache
    assert 'ns_team="blue"' in _expose(view, b"a 1\n")


def test_a_pod_that_is_gone_is_forgotten_and_gives_its_room_back() -> None:
    view = _view()
    _expose(view, b"a 1\n" * 1)
    assert view.size_bytes > 0

    view.keep_only(set())

    assert view.size_bytes == 0


def test_a_plan_serves_while_shapes_stay() -> None:
    view = _view()
    lines = view.lines_of(_WEB)
    rows = [Row(lines.marks, lines.cache.read(b"a 1\n"))]
    plan = view.plan(rows)

    assert view.plan([Row(lines.marks, lines.cache.read(b"a 2\n"))]) is plan
    assert view.has_plan([rows[0].reading.shape])
    assert not view.has_plan([])


def test_a_gauge_of_our_own_has_the_namespaces_labels() -> None:
    written = _view().write_own(b"up", "Whether.", [(_WEB, 1), (pod_target("b", 1), 0)])

    assert written == (
        b"# HELP up Whether.\n# TYPE up gauge\n"
        b'up{team="blue",namespace="shop",pod="web-0"} 1\n'
        b'up{team="blue",namespace="shop",pod="b"} 0\n'
    )


def test_room_is_given_back_at_the_end() -> None:
    room = CacheRoom(1 << 20)
    view = PodsView(_policy(), PodsSettings(), WANTED, limits=Limits(), room=room)
    _expose(view, b"a 1\n")

    view.close()

    assert room.left_bytes == 1 << 20
