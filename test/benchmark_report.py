"""The report that a benchmark writes."""

import json

from invdyn_ros.cli.benchmark import main

ABOUT = {"cpu", "cores", "load_average", "system", "python", "torch", "torch_threads", "date"}


def report_of(tmp_path, *words):
    """Run a benchmark; return its report, which names the machine."""
    file = tmp_path / "deep" / "report.json"
    assert main([*map(str, words), "--report", str(file)]) == 0
    report = json.loads(file.read_text())
    assert set(report["machine"]) >= ABOUT and len(report["machine"]["load_average"]) == 3
    return report
