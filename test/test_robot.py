from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares

from invdyn_ros.robots.robot import ROBOTS, load_robot, package_file
from invdyn_ros.robots.urdf import load_urdf

# Published Denavit-Hartenberg parameters [m]: d1, a2, a3, d4, d5, d6.
DH = {
    "ur5": (0.089159, -0.425, -0.39225, 0.10915, 0.09465, 0.0823),
    "ur5e": (0.1625, -0.425, -0.3922, 0.1333, 0.0997, 0.0996),
    "ur10": (0.1273, -0.612, -0.5723, 0.163941, 0.1157, 0.0922),
}
LINKS = ("shoulder", "upper_arm", "forearm", "wrist_1", "wrist_2", "wrist_3")
MASSES = {
    "ur5": dict(zip(LINKS, (3.7, 8.393, 2.33, 1.219, 1.219, 0.1879), strict=True)),
    "ur5e": dict(zip(LINKS, (3.761, 8.058, 2.846, 1.37, 1.3, 0.365), strict=True)),
    "ur10": dict(zip(LINKS, (7.1, 12.7, 4.27, 2.0, 2.0, 0.365), strict=True)),
}

POLE = """<robot name="pole">
  <link name="foot"/>
  <link name="rod">{inertial}<visual><geometry><box size="1 1 1"/></geometry></visual></link>
  <link name="end"/>
  <joint name="hinge" type="{kind}">
    <parent link="foot"/><child link="rod"/><axis xyz="0 1 0"/>{limit}
  </joint>
  <joint name="weld" type="fixed">
    <parent link="rod"/><child link="end"/><origin xyz="0 0 1"/>
  </joint>
</robot>"""
INERTIAL = """<inertial><mass value="2"/>
  <inertia ixx=".1" iyy=".1" izz=".1" ixy="0" ixz="0" iyz="0"/></inertial>"""
LIMIT = '<limit lower="-1" upper="2" effort="5" velocity="3"/>'


def write_pole(folder: Path, inertial=INERTIAL, kind="revolute", limit=LIMIT) -> Path:
    path = folder / "pole.urdf"
    path.write_text(POLE.format(inertial=inertial, kind=kind, limit=limit))
    return path


def denavit_hartenberg(q, d1, a2, a3, d4, d5, d6):
    """Pose of the flange in the controller's base frame."""
    rows = zip(
        q,
        (d1, 0, 0, d4, d5, d6),
        (0, a2, a3, 0, 0, 0),
        (np.pi / 2, 0, 0, np.pi / 2, -np.pi / 2, 0),
        strict=True,
    )
    T = np.eye(4)
    for theta, d, a, alpha in rows:
        c, s, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
        T = T @ np.array(
            [
                [c, -s * ca, s * sa, a * c],
                [s, c * ca, -c * sa, a * s],
                [0, sa, ca, d],
                [0, 0, 0, 1],
            ]
        )
    return T


@pytest.fixture(scope="module", params=ROBOTS)
def robot(request):
    return load_robot(request.param)


@pytest.mark.parametrize("name", DH)
def test_forward_kinematics_equals_the_published_dh_parameters(name):
    robot = load_robot(name)
    half_turn = np.diag([-1.0, -1.0, 1.0, 1.0])  # base_link to the controller's base frame
    for q in np.random.default_rng(0).uniform(robot.lower, robot.upper, (50, 6)):
        flange = half_turn @ denavit_hartenberg(q, *DH[name])
        np.testing.assert_allclose(robot.forward_kinematics(q, "tool0"), flange, atol=1e-6)


def test_dofbot_at_zero_is_stretched_upwards():
    T = load_robot("dofbot").forward_kinematics(np.zeros(5))
    height = 0.0925 + 0.033 + 0.08285 + 0.08285 + 0.078149 + 0.068091
    np.testing.assert_allclose(T[:3, 3], [0, 0, height], atol=1e-9)
    np.testing.assert_allclose(T[:3, :3], np.eye(3), atol=1e-9)


def test_dofbot_reaches_the_table_pointing_down():
    robot = load_robot("dofbot")

    def pose_error(q, x):
        T = robot.forward_kinematics(np.array([0, *q, 0]))
        return [*(T[:3, 3] - (x, 0, 0.015)), *(T[:3, 2] - (0, 0, -1))]

    for x in (0.12, 0.14, 0.155):
        solution = least_squares(pose_error, (-0.5, -1, -1), bounds=(-1.57, 1.57), args=(x,))
        assert np.abs(solution.fun).max() < 1e-6


@pytest.mark.parametrize("name", MASSES)
def test_link_masses_equal_the_published_values(name):
    model = load_robot(name).model()
    for link, mass in MASSES[name].items():
        assert model.body(f"{link}_link").mass[0] == pytest.approx(mass)
    gripper = 0.9 if load_robot(name).gripper else 0.0
    arm = sum(MASSES[name].values()) + gripper
    assert model.body("shoulder_link").subtreemass[0] == pytest.approx(arm)


def test_dofbot_mass_is_the_sum_of_its_parts():
    model = load_robot("dofbot").model()
    parts = 0.207 + 0.0255 + 0.0534 + 0.0534 + 0.0715 + 0.0533
    assert model.body("base_link").subtreemass[0] == pytest.approx(parts)


def test_home_is_within_the_limits_and_points_down_in_front_of_the_arm(robot):
    T = robot.forward_kinematics(robot.home)
    assert (robot.lower < robot.home).all() and (robot.home < robot.upper).all()
    assert T[0, 3] > 0.1 and abs(T[1, 3]) < 1e-3 and T[2, 3] > 0.1
    assert T[2, 2] < -0.5  # the approach direction points down


def test_full_acceleration_at_full_speed_stays_within_the_torque_limits(robot):
    rng = np.random.default_rng(0)
    for _ in range(2000):
        q = rng.uniform(robot.lower, robot.upper)
        qd = rng.uniform(-robot.velocity, robot.velocity)
        qdd = rng.choice([-1, 1], robot.n) * robot.acceleration
        assert (np.abs(robot.inverse_dynamics(q, qd, qdd)) < robot.effort).all()


@pytest.mark.parametrize("name", ["ur5", "ur5e", "dofbot"])
def test_tool_centre_point_lies_between_the_finger_ends(name):
    robot = load_robot(name)
    tip = robot.forward_kinematics(robot.home)
    left, right = (
        np.linalg.inv(tip) @ robot.forward_kinematics(robot.home, link)
        for link in ("finger_left", "finger_right")
    )
    np.testing.assert_allclose(left, right, atol=1e-9)  # closed
    np.testing.assert_allclose(left[:2, 3], 0, atol=1e-9)  # on the axis of approach
    assert 0.04 < -left[2, 3] < 0.06  # fingers start above and end 8 to 10 mm below it


@pytest.mark.parametrize("name", ["ur5", "ur5e", "dofbot"])
def test_fingers_at_their_limits_are_as_far_apart_as_the_gripper_opens(name):
    robot = load_robot(name)
    joints = load_urdf(robot.urdf).joints
    left, right = (joints[finger] for finger in robot.gripper.joint_names)
    assert left.type == right.type == "prismatic"
    np.testing.assert_allclose(left.axis, [0, 1, 0])
    np.testing.assert_allclose(right.axis, [0, -1, 0])
    assert left.limit["upper"] + right.limit["upper"] == pytest.approx(robot.gripper.max_opening)


def test_rigid_urdf_has_the_arm_joints_and_limits_only(robot):
    model = robot.model()
    assert tuple(model.joint(i).name for i in range(model.njnt)) == robot.joint_names
    np.testing.assert_allclose(model.jnt_range.T, [robot.lower, robot.upper])
    assert not model.dof_damping.any() and model.ngeom == 0


def test_torque_does_not_depend_on_the_joint_limits():
    robot = load_robot("kuka_iiwa")
    q = np.full(robot.n, 0.3)
    outside = q + 2 * np.pi
    zero = np.zeros(robot.n)
    np.testing.assert_allclose(
        robot.inverse_dynamics(outside, zero, zero),
        robot.inverse_dynamics(q, zero, zero),
        atol=1e-9,
    )


def test_mass_matrix_is_symmetric_and_positive_definite(robot):
    for q in np.random.default_rng(1).uniform(robot.lower, robot.upper, (20, robot.n)):
        M = robot.mass_matrix(q)
        np.testing.assert_allclose(M, M.T, atol=1e-9)
        assert np.linalg.eigvalsh(M)[0] > 0


def test_error_of_an_unknown_arm_lists_the_known_arms():
    with pytest.raises(ValueError, match=r"unknown arm 'ur50'; known arms are ur5, ur5e"):
        load_robot("ur50")


def test_error_of_an_unknown_link_lists_the_links():
    with pytest.raises(ValueError, match=r"no link 'hand'.*'tool0'"):
        load_robot("ur5").forward_kinematics(np.zeros(6), "hand")


def test_robot_of_any_urdf_has_the_limits_of_the_file(tmp_path):
    robot = load_robot("pole", write_pole(tmp_path))
    assert (robot.name, robot.joint_names, robot.tip_link) == ("pole", ("hinge",), "end")
    assert (robot.lower[0], robot.upper[0], robot.velocity[0], robot.effort[0]) == (-1, 2, 3, 5)
    gravity = robot.inverse_dynamics(np.array([0.5]), np.zeros(1), np.zeros(1))
    assert gravity[0] == pytest.approx(0)  # the centre of mass is on the axis
    np.testing.assert_allclose(
        robot.forward_kinematics(np.array([np.pi / 2]))[:3, 3], [1, 0, 0], atol=1e-12
    )


def test_continuous_joint_is_limited_to_one_turn_each_way(tmp_path):
    path = write_pole(tmp_path, kind="continuous", limit='<limit effort="5" velocity="3"/>')
    robot = load_robot("pole", path)
    assert (robot.lower[0], robot.upper[0]) == (-2 * np.pi, 2 * np.pi)
    assert robot.model().njnt == 1


@pytest.mark.parametrize("inertial", ["", INERTIAL.replace('mass value="2"', 'mass value="0"')])
def test_urdf_without_inertia_is_refused_by_link_name(tmp_path, inertial):
    with pytest.raises(ValueError, match=r"pole\.urdf: link 'rod' moves but has mass 0 kg"):
        load_robot("pole", write_pole(tmp_path, inertial=inertial))


def test_urdf_without_limits_is_refused_by_joint_name(tmp_path):
    with pytest.raises(ValueError, match="joint 'hinge' has no lower limit"):
        load_robot("pole", write_pole(tmp_path, limit=""))


def test_limits_that_exclude_each_other_are_refused(tmp_path):
    limit = '<limit lower="1" upper="-1" effort="5" velocity="3"/>'
    with pytest.raises(ValueError, match="'hinge' needs lower < upper"):
        load_robot("pole", write_pole(tmp_path, limit=limit))


def test_missing_urdf_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no URDF file '.*absent\.urdf'"):
        load_robot("mine", tmp_path / "absent.urdf")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not xml", "is not XML"),
        ("<mujoco/>", "starts <mujoco>, not <robot>"),
        ("<robot><link name='a'/><link name='b'/></robot>", "needs one root link"),
        ("<robot><link name='a'/></robot>", "has no moving joint"),
        (
            "<robot><link name='a'/><link name='b'/><joint name='j' type='fixed'>"
            "<parent link='b'/><child link='b'/></joint></robot>",
            r"links \['b'\] are not connected to the root link 'a'",
        ),
    ],
)
def test_file_that_is_not_a_urdf_of_an_arm_is_refused(tmp_path, text, message):
    path = tmp_path / "bad.urdf"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_robot("bad", path)


def test_package_file_finds_files_and_reports_missing_ones():
    assert package_file("urdf/ur5.urdf").is_file()
    with pytest.raises(FileNotFoundError, match=r"no 'urdf/ur7\.urdf' in "):
        package_file("urdf/ur7.urdf")
