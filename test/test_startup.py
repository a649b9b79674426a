"""Start and end of a composed graph, as its benchmark measures them."""

from pathlib import Path

import pytest
from benchmark_report import report_of

from invdyn_ros.benchmarks import startup

PERSON = Path(__file__).parents[2] / "shared" / "data" / "teleop" / "person.mp4"


@pytest.mark.slow
@pytest.mark.skipif(not PERSON.exists(), reason="the recording person.mp4 is absent")
def test_composed_graph_drives_the_arm_and_ends_at_any_moment_of_its_start(tmp_path, monkeypatch):
    monkeypatch.setattr(startup, "MOMENTS", (0.3, 0.9))
    arguments = ("--video", PERSON, "--composed", "--runs", 1, "--seconds", 0.1)
    rows = report_of(tmp_path, "startup", *arguments)["rows"]
    first, image = (rows.pop(name) for name in ("first command", "first command from an image"))
    assert 0 < first["s"] <= image["s"] < 60
    for moment in startup.MOMENTS:
        for name in startup.SIGNALS:
            end = rows.pop(f"{name} at {moment} s")
            assert (end["tracebacks"], end["orphans"]) == (0, 0)
    total = rows.pop("total")
    assert rows.keys() == {"launcher", "composed", "inverse_dynamics", "simulator", "report"}
    for row in rows.values():
        assert 10 < row["PSS MB"] <= row["RSS MB"] <= row["peak MB"] + 1
    assert total["RSS MB"] == pytest.approx(sum(row["RSS MB"] for row in rows.values()), abs=0.5)
