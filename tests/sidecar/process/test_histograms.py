from sidecar.process.histograms import Histogram


def test_buckets_hold_all_that_is_not_above_them() -> None:
    histogram = Histogram("took_seconds", "Time.", "path", [0.1, 1.0])
    for amount in (0.05, 0.1, 0.5, 7.0):
        histogram.observe("/a", amount)

    assert histogram.render().decode() == (
        "# HELP took_seconds Time.\n# TYPE took_seconds histogram\n"
        'took_seconds_bucket{path="/a",le="0.1"} 2\n'
        'took_seconds_bucket{path="/a",le="1.0"} 3\n'
        'took_seconds_bucket{path="/a",le="+Inf"} 4\n'
        'took_seconds_sum{path="/a"} 7.65\ntook_seconds_count{path="/a"} 4\n'
    )


def test_a_label_s_value_is_escaped() -> None:
    histogram = Histogram("a", "A.", "b", [1.0])
    histogram.observe('x"\n', 1)

    assert b'b="x\\"\\n"' in histogram.render()
