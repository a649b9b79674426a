"""Episodes of a real arm in a report: where they start and end, and what the camera said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from invdyn_ros.data.recording import (
    EpisodeStatus,
    JointSamples,
    Recording,
    StatusInterval,
    split_episodes,
)
from invdyn_ros.evaluation.grasp_report import grasp_report
from invdyn_ros.evaluation.headlines import headline, headline_text
from invdyn_ros.evaluation.pages.grasp_sections import grasp_run_sections
from invdyn_ros.evaluation.pages.sections import report_sections
from invdyn_ros.evaluation.plots.grasp_video import episode_events
from invdyn_ros.evaluation.report_keys.registry import undescribed_keys
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot

ARM, SCENE = load_robot("dofbot"), load_scene("dofbot")
RUNNING, PLACED = EpisodeStatus(None, "running"), EpisodeStatus(True, "placed")
MISSED = EpisodeStatus(False, "gave up after 3 empty grasps")


def samples(*spans):
    """Return joint samples at 50 Hz in time spans [s]."""
    time = np.concatenate([np.arange(start, end, 0.02) for start, end in spans])
    q = np.tile(ARM.home, (len(time), 1))
    none = np.empty((len(time), 0))
    return JointSamples(time, q, none, none, np.full(len(time), 0.06))


@pytest.fixture(scope="module")
def run():
    """A run of 60 s: started at 0, engaged from 5 to 20, from 30 to 40, and from 50 on."""
    recording = Recording(samples((0, 60)), samples((5, 20.4), (30, 40.4), (50, 60)))
    recording.camera_detections = {t: np.eye(4) for t in np.arange(0.0, 60.0, 0.1)}
    recording.episodes = [
        *((0.0, RUNNING), (20.0, PLACED)),
        *((30.0, RUNNING), (40.0, MISSED)),
        (50.0, RUNNING),
    ]
    recording.statuses = [
        StatusInterval(2.0, 8.0, "grasp", "block not detected", "hold"),
        StatusInterval(20.0, 30.0, "grasp", "move the block to a new place", "hold"),
    ]
    recording.hold_counts = {"grasp: block not detected": 1}
    return recording


def test_episodes_last_from_engaging_to_their_result(run):
    complete, unfinished = split_episodes(run)
    spans = [(e.joints.time[0], e.joints.time[-1]) for e in complete + unfinished]
    np.testing.assert_allclose(spans, [(5, 20), (30, 40), (50, 60)], atol=0.03)
    assert [e.result for e in complete] == [PLACED, MISSED] and unfinished[0].result is None
    assert len(complete[1].camera_detections) == pytest.approx(100, abs=2)
    (hold,) = complete[0].statuses
    assert (hold.start, hold.end) == (5.0, 8.0), "while nobody was engaged nothing was held"
    assert not complete[1].statuses


def test_a_run_without_results_has_no_complete_episode():
    recording = Recording(samples((0, 5)), samples((1, 5)))
    assert split_episodes(recording) == ([], [])
    recording.episodes = [(0.0, RUNNING)]
    complete, (unfinished,) = split_episodes(recording)
    assert not complete and unfinished.joints.time[0] == pytest.approx(1.0)


def test_report_counts_what_the_camera_saw(run):
    complete, unfinished = split_episodes(run)
    settings = {"policy": "scripted", "noise": "default", "seed": 0}
    report = grasp_report(complete, ARM, SCENE, "rad", settings, unfinished)
    assert (report["episodes"], report["successes"], report["unfinished_episodes"]) == (2, 1, 1)
    assert report["failed_episodes"] == [1] and report["lifted"] is None
    assert report["failures"] == {MISSED.text: 1} and report["judged_by"] == "the camera"
    assert report["seconds_per_episode"] == pytest.approx(12.5, abs=0.1)
    assert not undescribed_keys("grasp_sim", report)
    words = headline_text(headline("grasp_sim", report | {"lockstep": False}))
    assert "Placed 1 of 2" in words and "failed: 1 gave up after 3 empty grasps" in words
    sections = report_sections("grasp_sim", json.loads(json.dumps(report)))
    assert "by the camera" in repr(sections)
    sections = grasp_run_sections(complete, ARM, SCENE, [[], []])
    rows = sections[0].tables[0].rows
    assert [rows[0][1].text, rows[1][1].text] == ["placed", MISSED.text]
    assert rows[0][2] == "\u2013", "nobody has measured whether it was lifted"
    assert episode_events(complete[0], SCENE).placed == pytest.approx(20.0, abs=0.03)
