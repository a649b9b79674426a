"""Excitation of an arm among obstacles, and its identification in one command."""

import contextlib
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from oracle import robot

from invdyn_ros.arms.pybullet_obstacles import TABLE
from invdyn_ros.benchmarks.safety_checks import ContactProbe
from invdyn_ros.cli import run_verb
from invdyn_ros.control.joint_motion import load_motion
from invdyn_ros.data.dataset import read_dataset
from invdyn_ros.evaluation import arm_identification
from invdyn_ros.robots.registry import load_arm_obstacles
from invdyn_ros.sources.excitation import design as excitation_design
from invdyn_ros.sources.excitation import excitation_problem
from invdyn_ros.workers import LocalProcesses


@pytest.fixture(scope="module")
def identified(tmp_path_factory):
    """Folder and output of the identification of an arm with a payload."""
    out = tmp_path_factory.mktemp("identified") / "ur5"
    words = ["arm", "--arm", "ur5", "--duration", "4", "--payload", "0.5", "--out", str(out)]
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(excitation_problem, "ITERATIONS", 20)
        patch.setattr(arm_identification, "VALIDATION_SECONDS", 1.0)
        assert run_verb("identify", words) == 0
    return out, printed.getvalue()


def test_excitation_is_smooth_informative_and_clear_of_the_table(identified):
    """By the collision detection of the simulation, not that of the design."""
    folder, printed = identified
    arm = robot("ur5")
    motion = load_motion(folder / "excitation.npz", arm)
    assert float(re.search(r"intervals (\S+) times narrower", printed)[1]) > 1.0
    np.testing.assert_allclose(motion.q[[0, -1]], [arm.home, arm.home], atol=1e-9)
    for values, rate, largest in (
        (motion.q, motion.qd, arm.velocity),
        (motion.qd, motion.qdd, arm.acceleration),
    ):
        np.testing.assert_allclose(rate[[0, -1]], 0.0, atol=1e-9)
        slope = np.gradient(values, 1 / motion.rate, axis=0)[1:-1]
        np.testing.assert_allclose(slope, rate[1:-1], atol=0.05 * np.abs(rate).max())
        assert (np.abs(rate) < 0.75 * largest).all()
    probe = ContactProbe(arm, load_arm_obstacles("ur5"))
    contacts = [c for q in motion.q[::5] for c in probe.contacts(q, 0.02)]
    probe.close()
    assert not [contact for contact in contacts if contact.other == TABLE]


@pytest.mark.parametrize("home", [None, 2.0], ids=["home of the arm", "home at a bound"])
def test_excitation_moves_every_joint_wherever_home_is(monkeypatch, home):
    """The elbow of the ur10 is at home farther from the middle than excitations otherwise go."""
    monkeypatch.setattr(excitation_problem, "ITERATIONS", 2)
    arm = robot("ur10")
    if home is not None:
        arm = replace(arm, upper=np.where(arm.home > home, arm.home + 0.07, arm.upper))
    design = excitation_design.ExcitationDesign(duration=4.0)
    motion = excitation_design.design_excitation(arm, design, load_arm_obstacles("ur10")).motion
    moved = np.ptp(motion.q, 0)
    assert (moved > 0.02)[arm.home < arm.upper - 0.1].all(), moved


@pytest.mark.slow
def test_excitation_does_not_depend_on_the_number_of_workers(monkeypatch):
    monkeypatch.setattr(excitation_problem, "ITERATIONS", 2)
    arm, design = robot("ur5"), excitation_design.ExcitationDesign(duration=4.0)
    one, two = (
        excitation_design.design_excitation(
            arm, design, load_arm_obstacles("ur5"), executor=LocalProcesses(workers)
        )
        for workers in (1, 2)
    )
    np.testing.assert_array_equal(one.motion.q, two.motion.q)
    assert one.narrower == two.narrower


def test_singular_home_is_refused_with_a_remedy():
    arm = replace(robot("ur5"), home=np.zeros(6))
    design = excitation_design.ExcitationDesign(duration=4.0, clearance=0.0)
    obstacles = replace(load_arm_obstacles("ur5"), table=False)
    with pytest.raises(ValueError, match=r"ur5 is near a singularity.*give a home with bent"):
        excitation_design.design_excitation(arm, design, obstacles)


def test_one_command_identifies_validates_and_exports_an_arm(identified):
    folder, printed = identified
    assert "contacts: 0 control steps" in printed
    assert "evenly spaced, no gaps" in printed and "suspicion" not in printed
    assert re.search(r"elbow_joint +-?[\d.]+ \.\. ", printed)
    for name in ("ur5.urdf", "ur5.xml", "ur5.c", "report.html"):
        assert (folder / name).stat().st_size
    report = json.loads((folder / "report.json").read_text())
    assert report["split"]["group_by"] == "dataset"  # another recording than the training's
    assert report["moving"]["nmse"]["mean"] < 0.1
    trajectories, info = read_dataset(folder / "recording")
    motion = load_motion(folder / "excitation.npz", robot("ur5"))
    assert info.robot == "ur5" and motion.payload == 0.5
    np.testing.assert_allclose(trajectories[0].position, motion.q, atol=0.05)


def test_wrong_motions_are_refused_in_one_line(identified, tmp_path, capsys):
    folder, _ = identified
    file = folder / "excitation.npz"
    with pytest.raises(ValueError, match="is a motion of 'ur5', not of 'kuka_iiwa'"):
        load_motion(file, robot("kuka_iiwa"))
    cut = tmp_path / "cut.npz"
    cut.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"is no motion.*invdyn excite"):
        load_motion(cut, robot("ur5"))
    words = ["arm", "--motion", str(file), "--out", str(tmp_path / "ur5")]
    assert run_verb("identify", words) == 2  # with another payload than the motion's
    assert "made for --payload 0.5" in capsys.readouterr().err
    assert run_verb("excite", ["--duration", "1", "--out", str(tmp_path / "a.npz")]) == 2
    assert "give 4.0 s or more" in capsys.readouterr().err
