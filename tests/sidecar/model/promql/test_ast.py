from sidecar.model.promql.ast import Selector, children, selectors
from sidecar.model.promql.parser import parse_query
from sidecar.model.promql.printer import print_query


def test_every_selector_of_a_tree_is_found() -> None:
    tree = parse_query(
        "topk(scalar(a), b) + on() c{d='e'}[5m:1m] offset 1h * "
        "-(quantile_over_time(scalar(f), g[1m]))"
    )

    names = [item.conditions[0].value for item in selectors(tree)]
    assert names == ["a", "b", "c", "f", "g"]


def test_a_node_s_children_are_what_is_evaluated_and_no_durations() -> None:
    tree = parse_query("a[5m + step()] offset 3m")

    assert isinstance(tree, Selector)
    assert list(children(tree)) == []
    assert [print_query(item) for item in children(parse_query("sum(a) / b"))] == ["sum(a)", "b"]
