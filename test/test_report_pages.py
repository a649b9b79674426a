"""Pages of runs: a page shows what went wrong, explains every key and works in a browser."""

import json

import numpy as np
import pytest
from browser import WIDTHS, check_accessible, check_quiet, open_page
from synthetic_person import moving_arm_directions, person_landmarks

from invdyn_ros.arms import rendering
from invdyn_ros.cli.visualize import main as visualize
from invdyn_ros.data.recording import JointSamples, Recording, StampedImage, StatusInterval
from invdyn_ros.evaluation.grasp_report import grasp_report
from invdyn_ros.evaluation.headlines import headline, headline_text
from invdyn_ros.evaluation.pages.grasp_sections import grasp_run_sections
from invdyn_ros.evaluation.pages.report_page import attempt_page, write_report_page
from invdyn_ros.evaluation.pages.sections import report_sections
from invdyn_ros.evaluation.pages.teleop_sections import teleop_run_sections
from invdyn_ros.evaluation.report_keys.registry import REPORT_KEYS
from invdyn_ros.evaluation.run_events import run_events
from invdyn_ros.evaluation.run_info import run_info
from invdyn_ros.evaluation.teleop_report import teleop_report
from invdyn_ros.robots.registry import load_scene
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.teleop.retarget_config import RetargetConfig

START = 1.7e9  # [s] real runs have stamps of this size
SECONDS = 4.0


@pytest.fixture(scope="module")
def robot():
    return load_robot("ur5")


def swing(robot, error=1e-3):
    time = START + np.arange(round(50 * SECONDS) + 1) / 50
    q = robot.home + 0.1 * np.sin(2 * np.pi * (time - START))[:, None]
    qd = 0.2 * np.pi * np.cos(2 * np.pi * (time - START))[:, None] + 0 * q
    opening = np.full(len(time), 0.08)
    return (
        JointSamples(time, q + error, qd, np.zeros_like(q), opening),
        JointSamples(time, q, qd, np.zeros_like(q), opening),
    )


@pytest.fixture(scope="module")
def teleop_file(robot, tmp_path_factory):
    """Report and page of a run that was held 90% of the time, at a mark of its camera images."""
    recording = Recording(*swing(robot))
    for t in recording.joints.time[::3]:
        landmarks = person_landmarks(*moving_arm_directions(t - START))
        recording.landmarks.append((t, landmarks))
        recording.image_stamps.append(t)
        recording.images.append(StampedImage(t, np.full((240, 320, 3), 120, np.uint8)))
        recording.targets[t] = robot.home
    held = (START + 0.3, START + SECONDS - 0.1)
    recording.statuses += [
        StatusInterval(*held, "retarget", "person <lost>", "hold"),
        StatusInterval(START + 2, START + 2.1, "inverse_dynamics", "overspeed", "fault"),
    ]
    recording.hold_counts["retarget: person <lost>"] = 1
    values = teleop_report(recording, robot, "N m", RetargetConfig())
    values |= {"arm": "ur5", "checkpoint": "ur5", "lockstep": False, "ended_by": "duration"}
    values |= {"restarts": 0, "run": run_info("teleop", "invdyn launch teleop")}
    file = tmp_path_factory.mktemp("teleop") / "report.json"
    file.write_text(json.dumps(values))
    events = run_events(recording, robot, "N m")
    sections = report_sections("teleop", values)
    sections += teleop_run_sections(recording, robot, RetargetConfig(), events)
    write_report_page(file, "teleop", values, sections)
    return file


@pytest.fixture(scope="module")
def grasp_file(robot, tmp_path_factory):
    """Report and page of two failed episodes."""
    episodes = []
    for _ in range(2):
        episode = Recording(*swing(robot))
        for t in episode.joints.time[::5]:
            episode.block_poses[t] = (np.array([0.45, 0.0, 0.02]), np.array([0, 0, 0, 1.0]))
        episodes.append(episode)
    scene, settings = load_scene("ur5"), {"policy": "scripted", "noise": "none", "seed": 0}
    values = grasp_report(episodes, robot, scene, "N m", settings)
    values |= {"checkpoint": "ur5", "lockstep": True, "ended_by": "episodes"}
    values |= {"run": run_info("grasp_sim", None)}
    file = tmp_path_factory.mktemp("grasp") / "report.json"
    file.write_text(json.dumps(values))
    events = [run_events(episode, robot, "N m") for episode in episodes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "SUPERSAMPLING", 1)
        sections = report_sections("grasp_sim", values)
        sections += grasp_run_sections(episodes, robot, scene, events)
    write_report_page(file, "grasp_sim", values, sections)
    return file


def find_all(browser, selector):
    return browser.find_elements("css selector", selector)


def test_a_run_that_was_held_looks_like_one(browser, teleop_file):
    open_page(browser, teleop_file.with_suffix(".html"))
    report = json.loads(teleop_file.read_text())
    lines = [item.text for item in find_all(browser, ".headline li")]
    findings = headline("teleop", report)
    assert len(lines) == len(findings)
    assert all(f.text in line for f, line in zip(findings, lines, strict=True))
    bad = " ".join(item.text for item in find_all(browser, ".headline .bad"))
    assert "Problem:" in lines[0] and "held 9" in lines[0] and "followed" not in lines[0]
    assert "held 9" in bad and "person <lost>" in bad and "1 fault, first at 2.0 s" in bad
    spans = browser.execute_script("return pageData.charts.at(-1).options.spans")
    assert {"hold: person <lost> (retarget)", "fault: overspeed (inverse_dynamics)"} <= {
        span["text"] for span in spans
    }
    # the reason of a hold is read where it is
    place = find_all(browser, ".chart-place > figure > svg")[1]
    place.send_keys("\ue014")
    assert "person <lost>" in find_all(browser, ".chart-readout")[1].text
    images = find_all(browser, ".gallery img")
    assert len(images) == len(find_all(browser, ".gallery article")) > 1
    assert all(image.get_property("naturalWidth") == 320 for image in images)


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_are_quiet_and_accessible(browser, teleop_file, grasp_file, width):
    open_page(browser, (teleop_file if width == 400 else grasp_file).with_suffix(".html"), width)
    check_quiet(browser)
    check_accessible(browser)


def test_every_key_is_found_with_value_unit_and_meaning(browser, teleop_file):
    open_page(browser, teleop_file.with_suffix(".html"))
    find = find_all(browser, "#find")[0]
    find.send_keys("tracking_max_rad")
    (group,) = [g for g in find_all(browser, "details.keys") if g.is_displayed()]
    path, value, unit, meaning = [
        c.text for c in group.find_elements("css selector", "tbody tr > *")
    ]
    report = json.loads(teleop_file.read_text())
    assert float(value) == pytest.approx(report["tracking_max_rad"], rel=1e-3)
    assert (path, unit) == ("tracking_max_rad", "rad")
    assert meaning == REPORT_KEYS["teleop"]["tracking_max_rad"].description
    assert find_all(browser, "#found")[0].text == "1 keys"
    find.clear()
    find.send_keys("nothing has this name")
    assert find_all(browser, "#found")[0].text == "0 keys"
    find.clear()
    find.send_keys(" ")
    find_all(browser, "#expand")[0].click()
    groups = find_all(browser, "details.keys")
    assert len(groups) == len(report) and all(g.get_property("open") for g in groups)
    assert "not described" not in browser.page_source


def test_failed_episodes_have_their_cause_and_frames(browser, grasp_file):
    open_page(browser, grasp_file.with_suffix(".html"))
    articles = find_all(browser, ".gallery article")
    assert [a.text.split("\n")[0] for a in articles] == [
        "Episode 0: not detected",
        "Episode 1: not detected",
    ]
    images = articles[0].find_elements("css selector", "img")
    assert len(images) >= 2 and all(i.get_property("naturalWidth") == 480 for i in images)
    assert "Placed 0 of 2" in find_all(browser, ".headline .bad")[0].text
    assert len(find_all(browser, ".chart-place figure")) == 8  # heights, errors, six joints


def test_a_page_is_made_again_from_its_report(browser, teleop_file, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"report\.html exists"):
        visualize(["report", str(teleop_file)])
    page = tmp_path / "again.html"
    assert visualize(["report", str(teleop_file), "--out", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    open_page(browser, page)
    check_quiet(browser)
    assert "only in the page that the run itself wrote" in browser.page_source
    link = find_all(browser, ".origin a")[0].get_property("href")
    assert link == teleop_file.as_uri()
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(ValueError, match="is no report"):
        visualize(["report", str(tmp_path / "no.json")])


def test_a_failed_page_is_a_warning_and_leaves_no_older_page(tmp_path, capsys):
    file = tmp_path / "report.json"
    file.with_suffix(".html").write_text("of an earlier run")
    assert attempt_page(file, lambda: write_report_page(file, "teleop", {}, [])) is None
    error = capsys.readouterr().err
    assert error.startswith("page not written: ") and error.count("\n") == 1
    assert not file.with_suffix(".html").exists()


def test_headline_of_a_run_without_images_or_figures(teleop_file):
    report = json.loads(teleop_file.read_text()) | {"frames": 0}
    assert headline("teleop", report)[0] == ("No image was processed", True)
    failed = headline("teleop", {"error": "no figures"})
    assert headline_text(failed) == "The report failed: no figures" and failed[0].bad
