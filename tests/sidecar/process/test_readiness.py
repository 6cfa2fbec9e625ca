from sidecar.process.metrics import Telemetry
from sidecar.process.readiness import Obstacle, Readiness, Reason, readiness_families

_FOUND = [
    Obstacle(Reason.SETTING, ""), Obstacle(Reason.POLICY, "none yet"),
    Obstacle(Reason.NAMESPACES, "no labels yet"),
]  # fmt: skip


def test_an_obstacle_without_a_sentence_is_none() -> None:
    assert Readiness.of([Obstacle(Reason.SETTING, "")], {}) == Readiness()
    assert Readiness.of(_FOUND, {"admin": "busy"}).sentences == (
        "none yet", "no labels yet", "busy",
    )  # fmt: skip


def test_the_first_obstacle_is_why_scrapes_are_refused_and_a_port_is_no_reason() -> None:
    assert Readiness.of(_FOUND, {}).refusal == "none yet"
    assert Readiness.of([], {"admin": "busy"}).refusal == ""


def test_metrics_show_each_reason_as_long_as_it_stands() -> None:
    telemetry = Telemetry(readiness_families("x"))
    Readiness.of(_FOUND, {}).observe(telemetry, "x")
    before = telemetry.render().decode()
    Readiness().observe(telemetry, "x")
    after = telemetry.render().decode()

    assert "x_faults 2\n" in before
    assert 'x_unready{reason="namespaces"} 1\nx_unready{reason="policy"} 1\n' in before
    assert "x_faults 0\n" in after
    assert "x_unready{" not in after
