"""Whole runs with the shipped models: each node in its own process, over DDS."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from invdyn_ros.cli import run_verb
from invdyn_ros.evaluation.headlines import headline, headline_text
from invdyn_ros.evaluation.report_keys.registry import undescribed_keys, unused_keys

PERSON = Path(__file__).parents[2] / "shared" / "data" / "teleop" / "person.mp4"
KUKA = Path(__file__).parents[1] / "config" / "checkpoints" / "kuka_iiwa"
TELEOP_FIELDS = {
    "frames", "detected", "latency_ms", "core_latency_ms", "tracking_rms_rad", "limb_error_deg",
    "wrist_error_mm", "limit_violations", "hold_counts", "frames_lost", "held_share", "lag_ms",
    "faults", "ended_by",
}  # fmt: skip
GRASP_FIELDS = {
    "arm", "policy", "noise", "seed", "episodes", "successes", "success_rate", "ci95",
    "baseline_scripted", "block_error_mm", "limit_violations", "seconds_per_episode",
}  # fmt: skip


def start(*arguments):
    command = [sys.executable, "-m", "invdyn_ros", "launch", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )


def run(*arguments, timeout=150):
    """Run a launch to its end; return its exit code and its output."""
    process = start(*arguments)
    try:
        out, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()
        out, _ = process.communicate(timeout=30)
        pytest.fail(f"{arguments} did not end within {timeout} s:\n{out[-3000:]}")
    return process.returncode, out


def run_without_plots(*arguments):
    """Run a launch, and interrupt it once its report is written."""
    process = start(*arguments)
    timer = threading.Timer(150, process.kill)  # else reading its output might not end
    timer.start()
    try:
        for line in process.stdout:
            if "drawing the plots" in line:
                process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    finally:
        timer.cancel()
        process.kill()


def check_page(report, kind, out):
    """Check that a page explains every key, and that its headline was printed."""
    values = json.loads(report.read_text())
    assert not undescribed_keys(kind, values) and not unused_keys(kind, values)
    assert values["run"]["command"].startswith(f"invdyn launch {kind}")
    assert headline_text(headline(kind, values)[:1]) in out
    page = report.with_suffix(".html").read_text(encoding="utf-8")
    assert "data:video/mp4" in page and "data:image/png" in page


def read(bag, topic):
    """Return stamp -> (*position, *velocity, *effort) of the messages of a recording."""
    with AnyReader([bag]) as reader:
        connections = [c for c in reader.connections if c.topic == topic]
        rows = {}
        for connection, _, raw in reader.messages(connections):
            m = reader.deserialize(raw, connection.msgtype)
            stamp = m.header.stamp.sec * 10**9 + m.header.stamp.nanosec
            rows.setdefault(stamp, (*m.position, *m.velocity, *m.effort))
        return rows


def check_same_start(first, second, seconds):
    """Check that recordings (stamp -> row) have the same rows over a time [s] in which they move.

    The second one is of a shorter run.
    """
    common = sorted(first.keys() & second.keys())
    assert common[-1] - common[0] >= seconds * 1e9, f"less than {seconds} seconds in common"
    assert all(first[stamp] == second[stamp] for stamp in common)
    moved = np.ptp([second[stamp][:6] for stamp in common], axis=0).max()
    assert moved > 0.01, "the arm did not move, so equality proves nothing"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_scripted_policy_grasps_and_places_a_block_and_twice_in_the_same_way(tmp_path):
    report = tmp_path / "out" / "report.json"
    bags = [tmp_path / name for name in ("whole", "start")]
    options = "seed:=1", f"record:={bags[0]}"
    code, out = run("grasp_sim", "arm:=ur5", *options, f"report:={report}")
    assert code == 0 and "Traceback" not in out, out
    assert out.count(" is over") == 1, "the simulation went on while the plots were drawn"
    result = json.loads(report.read_text())
    assert result.keys() >= GRASP_FIELDS
    check_page(report, "grasp_sim", out)
    assert result["successes"] == result["episodes"] == 1
    assert result["limit_violations"] == 0
    assert result["block_error_mm"]["p95"] < 10
    video_capture = cv2.VideoCapture(str(report.parent / "grasp.mp4"))
    assert video_capture.isOpened() and video_capture.get(cv2.CAP_PROP_FRAME_COUNT) > 20
    image = cv2.imread(str(report.parent / "summary.png"))
    assert image is not None and image.std() > 10
    code, out = run("grasp_sim", "seed:=1", "duration:=2.5", f"record:={bags[1]}")
    assert code == 0, out
    for topic in ("/joint_states", "/inverse_dynamics/desired_joint_state"):
        check_same_start(*(read(bag, topic) for bag in bags), 2.0)


@pytest.mark.slow
def test_arm_floats_gives_way_to_a_hand_and_stays_where_it_was_left(tmp_path):
    report = tmp_path / "report.json"
    # the hand counts from the first command that reaches it, about a second late on a busy machine
    options = "lockstep:=true", "duration:=8.2", f"report:={report}"
    code, out = run("gravity_compensation", *options)
    assert code == 0 and "Traceback" not in out, out
    result = json.loads(report.read_text())
    assert not undescribed_keys("gravity_compensation", result)
    assert not unused_keys("gravity_compensation", result)
    (push,) = result["pushes"]
    assert push["force"] == [0.0, 20.0, 0.0] and push["moved_mm"] > 100
    assert push["stopped_after_s"] < 0.8 and result["drift_mrad_per_min"] < 5
    assert not (result["limit_violations"] or result["contacts"] or result["faults"])
    assert report.with_suffix(".html").exists() and "floated for" in out


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_arm_follows_the_person_in_a_video_and_twice_in_the_same_way(tmp_path):
    if not PERSON.exists():
        pytest.skip("the video of a person is missing")
    report, runs, outputs = tmp_path / "report.json", [], []
    for name, options in (
        ("first", ("duration:=3", f"report:={report}")),
        ("second", ("duration:=1",)),
    ):
        arguments = (f"video:={PERSON}", "arm:=ur5", "lockstep:=true", *options)
        code, out = run("teleop", *arguments, f"record:={tmp_path / name}")
        assert code == 0, out
        outputs.append(out)
        runs.append(read(tmp_path / name, "/joint_states"))
    check_same_start(*runs, 0.9)
    result = json.loads(report.read_text())
    assert result.keys() >= TELEOP_FIELDS
    check_page(report, "teleop", outputs[0])
    assert result["frames"] >= 50 and result["detected"] == result["frames"]
    assert result["limit_violations"] == 0
    tracking = result["tracking_rms_rad"]
    assert tracking["inverse_dynamics"] < 0.01 < tracking["pd"]
    assert result["desired_state"]["wrist_error_mm"]["p95"] <= 5
    # the first of the three seconds are a hold and a slow start
    assert result["after_lag"]["wrist_error_mm"]["p50"] < 100 and result["frames_lost"] == 0
    assert result["ended_by"] == "duration" and not result["faults"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_without_a_person_the_arm_holds_and_reports_why(tmp_path):
    video, report = tmp_path / "empty.mp4", tmp_path / "report.json"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 20, (320, 240))
    for _ in range(20):
        writer.write(np.full((240, 320, 3), 90, np.uint8))
    writer.release()
    arguments = (f"video:={video}", "lockstep:=true", f"report:={report}")
    run_without_plots("teleop", *arguments, f"record:={tmp_path / 'bag'}")
    result = json.loads(report.read_text())
    assert result["ended_by"] == "end of the video" and result["held_share"] > 0.9
    assert result["frames"] == 20 and result["detected"] == 0 == result["frames_lost"]
    assert any("person" in reason for reason in result["hold_counts"])
    joints = read(tmp_path / "bag", "/joint_states")
    assert np.ptp([row[:6] for row in joints.values()], axis=0).max() < 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("grasp_sim", "vidoe:=a.mp4"), "unknown field 'vidoe'"),
        (("grasp_sim", "arm:=kuka_iiwa"), "kuka_iiwa has no gripper"),
        (("grasp_sim", f"checkpoint:={Path(__file__).parent}"), "has no meta.json"),
        (("grasp_sim", f"checkpoint:={KUKA}"), "was trained for 'kuka_iiwa', not for 'ur5'"),
        (("teleop", "video:=none.mp4"), f"no video file {Path('none.mp4').absolute()}"),
        (("teleop", f"video:={__file__}"), "as a video"),
    ],
)
def test_bad_input_is_refused_before_anything_starts(arguments, message, capfd):
    assert run_verb("launch", list(arguments)) == 2
    out, error = capfd.readouterr()
    assert message in error and error.count("\n") == 1 and not out, error


@pytest.mark.slow
@pytest.mark.parametrize("end", ["killed", "interrupted"])
def test_run_that_ends_early_leaves_a_report_and_no_process(tmp_path, end):
    report, bag = tmp_path / "report.json", tmp_path / "bag"
    process = start("teleop", "camera:=none", f"report:={report}", f"record:={bag}")
    timer = threading.Timer(120, process.kill)  # else reading its output might not end
    timer.start()
    try:
        wait_for_child(process.pid, "invdyn_ros.nodes.report")  # the last to start
        next(line for line in process.stdout if "no target yet" in line)  # all nodes run
        victim = wait_for_child(process.pid, "invdyn_ros.nodes.retarget")
        nodes = children("invdyn_ros.nodes", process.pid)
        if end == "killed":
            os.kill(victim, signal.SIGKILL)
            sign, reason, code = (
                "retarget ended with code 137",
                "retarget ended with code 137",
                137,
            )
        else:
            process.send_signal(signal.SIGINT)
            sign, reason, code = f"wrote {report}", "SIGINT", 130
        line = next(line for line in process.stdout if sign in line)
        process.send_signal(signal.SIGINT)  # no plots
        out, _ = process.communicate(timeout=60)
    finally:
        timer.cancel()
        process.kill()
    assert process.returncode == code, out
    assert line and len(nodes) >= 4 and "Traceback" not in out
    assert json.loads(report.read_text())["ended_by"] == reason
    page = report.with_suffix(".html")
    assert sorted(tmp_path.iterdir()) == [bag, page, report] and read(bag, "/joint_states")
    survivors = [pid for pid in nodes if Path(f"/proc/{pid}").exists()]
    assert not survivors, "nodes survived their launch"


def children(name, parent):
    """Return the ids of a process's children whose command line names a module."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
            status = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if any(word.decode().startswith(name) for word in arguments) and int(status[1]) == parent:
            pids.append(int(folder.name))
    return pids


def wait_for_child(parent, name, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if pids := children(name, parent):
            return pids[0]
        time.sleep(0.05)
    pytest.fail(f"no process {name} within {seconds} s")
