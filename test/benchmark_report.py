"""Reports of benchmarks, as written by the command line."""

import json

from invdyn_ros.cli.benchmark import main
from invdyn_ros.evaluation.headlines import headline
from invdyn_ros.evaluation.report_keys.registry import undescribed_keys, unused_keys

MACHINE_KEYS = {
    "cpu",
    "cores",
    "load_average",
    "system",
    "python",
    "torch",
    "torch_threads",
    "date",
}


def report_of(tmp_path, *arguments):
    """Run a benchmark and return its report."""
    file = tmp_path / "deep" / "report.json"
    assert main([*map(str, arguments), "--report", str(file)]) == 0
    report = json.loads(file.read_text())
    assert set(report["machine"]) >= MACHINE_KEYS and len(report["machine"]["load_average"]) == 3
    kind = report["run"]["kind"]
    assert not undescribed_keys(kind, report)
    assert not unused_keys(kind, report)
    page = file.with_suffix(".html").read_text(encoding="utf-8")
    assert headline(kind, report)[0].text.split(":")[0] in page
    return report
