"""Table of the supported arms.

`ROBOTS` holds all data of the named arms; every list of arms elsewhere is derived from it. To add
an arm, add an entry here and its URDF file; users describe theirs in a file of their own.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from invdyn_ros.robots.arm_file import ARM_FILE_SUFFIX, read_arm_file
from invdyn_ros.robots.blocks_file import read_blocks_file
from invdyn_ros.robots.obstacles import Obstacles
from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.robots.plant import PlantConfig
from invdyn_ros.robots.robot_spec import GraspSpec, Gripper, RobotSpec
from invdyn_ros.robots.scene import Scene
from invdyn_ros.workers import PREPARATIONS


def _degrees(*angles: float) -> tuple[float, ...]:
    return tuple(float(a) for a in np.radians(angles))


_UR_JOINTS = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)
_UR_GRIPPER = Gripper(("finger_left_joint", "finger_right_joint"), 0.085)
# Stretched out, gravity takes up to half of the shoulder torque. With these, all joints at full
# speed and full acceleration at once stay within the torque limits in any pose (0.98 at worst).
_UR_ACCELERATION = (8.0, 8.0, 10.0, 15.0, 15.0, 15.0)
_UR_SCENE = Scene(PinholeCamera.look_at((0.79, 0.0, 0.405), (0.465, 0.0, 0.02), focal=850.0))
_IIWA_UPPER = _degrees(170, 120, 170, 120, 170, 120, 175)

ROBOTS: dict[str, RobotSpec] = {
    "ur5": RobotSpec(
        urdf="urdf/ur5.urdf",
        joint_names=_UR_JOINTS,
        tip_link="tcp",
        home=(-0.245, -1.6895, 1.6993, -1.5807, -1.5708, 1.3258),
        rate=125.0,
        acceleration=_UR_ACCELERATION,
        gripper=_UR_GRIPPER,
        plant=PlantConfig(payload=0.1),
        scene=_UR_SCENE,
        grasp=GraspSpec("UR5", physics_rate=250.0),
        driver="ur5",
        real_checkpoint="ur5_position",  # takes positions; the simulated arm takes torques
    ),
    "ur5e": RobotSpec(
        urdf="urdf/ur5e.urdf",
        joint_names=_UR_JOINTS,
        tip_link="tcp",
        home=(-0.3007, -1.7068, 1.8578, -1.7217, -1.5708, 1.2701),
        rate=500.0,
        acceleration=_UR_ACCELERATION,
        gripper=_UR_GRIPPER,
        plant=PlantConfig(payload=0.1, delay=0.004),
        scene=_UR_SCENE,
        grasp=GraspSpec("UR5e", physics_rate=500.0),
        driver="ur5e",
        real_checkpoint="ur5e_position",
    ),
    "ur10": RobotSpec(
        urdf="urdf/ur10.urdf",
        joint_names=_UR_JOINTS,
        tip_link="tool0",
        home=(-0.2768, -1.6778, 2.0792, -1.9722, -1.5708, 1.294),
        rate=125.0,
        acceleration=_UR_ACCELERATION,
        plant=PlantConfig(payload=0.1),
    ),
    "dofbot": RobotSpec(
        urdf="urdf/dofbot.urdf",
        joint_names=("joint_1", "joint_2", "joint_3", "joint_4", "joint_5"),
        tip_link="tcp",
        home=(0.0, 0.6, -1.5, -1.4, 0.0),
        rate=50.0,
        # A third of the servos' torque at worst; top speed is reached in ten ticks of the bus.
        acceleration=(10.0,) * 5,
        action_unit="rad",
        gripper=Gripper(("finger_left_joint", "finger_right_joint"), 0.060),
        # A bus servo reports counts of 0.0818 degrees (900..3100 over 180 degrees) and no
        # velocity. It reaches its full torque at an error of 4 degrees; its rotor weighs more than
        # the arm's links.
        plant=PlantConfig(
            rotor_inertia=0.002,
            delay=0.02,
            encoder_step=1.43e-3,
            position_noise=0.0,
            velocity_noise=-1.0,
            servo_stiffness=13.3,
            servo_damping=0.42,
            gripper_force=3.0,
            gripper_speed=0.06,
        ),
        scene=Scene(
            PinholeCamera.look_at((0.40, 0.0, 0.33), (0.165, 0.0, 0.015), focal=850.0),
            block_size=0.03,
            area_x=(0.13, 0.20),
            area_y=(-0.08, 0.08),
            goal=(0.13, -0.12, 0.015),
            block_mass=0.02,
        ),
        # The joints end at a right angle: the higher the tool, the more it has to tilt.
        grasp=GraspSpec("Dofbot", physics_rate=400.0, clearance=0.045, lift_height=0.055),
        driver_node="dofbot",
        driver_rate=25.0,  # the bus reads three servos per tick, and an arm has six
    ),
    "kuka_iiwa": RobotSpec(
        urdf="pybullet_data/kuka_iiwa/model.urdf",
        joint_names=tuple(f"lbr_iiwa_joint_{i}" for i in range(1, 8)),
        tip_link="lbr_iiwa_link_7",
        home=(0.0, 0.45, 0.0, -1.45, 0.0, 1.2416, 0.0),
        rate=250.0,
        # Top speed (1.3 to 2.4 rad/s) in a quarter of a second, a third of the torque at worst.
        acceleration=(10.0,) * 7,
        # Datasheet of the LBR iiwa 14 R820; the URDF has 300 N m and 10 rad/s on every joint.
        lower=tuple(-u for u in _IIWA_UPPER),
        upper=_IIWA_UPPER,
        velocity=_degrees(85, 85, 100, 75, 130, 135, 135),
        effort=(320.0, 320.0, 176.0, 176.0, 110.0, 40.0, 40.0),
        plant=PlantConfig(payload=0.2, delay=0.004),
        scene=Scene(
            PinholeCamera.look_at((1.6, -1.1, 1.0), (0.2, 0.0, 0.45), focal=560.0), num_blocks=0
        ),
    ),
}

SHIPPED = dict(ROBOTS)
REGISTERED = "INVDYN_REGISTERED_ARM"  # environment variable: file of the arm that was registered


def register_arm(arm: str) -> str:
    """Return the name of an arm; that of a file is then known here and in worker processes.

    Args:
        arm: name, or FILE.yaml of an arm of a user.

    Raises:
        ValueError: the file is wrong.
    """
    if not arm.endswith(ARM_FILE_SUFFIX):
        return arm
    path = Path(arm).absolute()
    name, spec = read_arm_file(path, SHIPPED)
    ROBOTS[name] = spec
    os.environ[REGISTERED] = str(path)
    PREPARATIONS[register_arm] = (str(path),)
    return name


def load_robot_spec(arm: str) -> RobotSpec:
    """Return the entry of an arm.

    Raises:
        ValueError: the arm is unknown; the message lists the known ones.
    """
    if arm not in ROBOTS:
        raise ValueError(
            f"unknown arm '{arm}'; known arms are {', '.join(ROBOTS)}; describe another one in "
            "FILE.yaml"
        )
    return ROBOTS[arm]


def load_plant(arm: str, **changes: float) -> PlantConfig:
    """Return the plant of an arm, with changes; an unknown arm gets the defaults."""
    plant = ROBOTS[arm].plant if arm in ROBOTS else PlantConfig()
    return replace(plant, **changes)


def load_arm_obstacles(arm: str) -> Obstacles:
    """Return the obstacles around an arm; an unknown arm stands on a table."""
    return ROBOTS[arm].obstacles if arm in ROBOTS else Obstacles()


def load_scene(arm: str, blocks: str | Path = "") -> Scene:
    """Return the scene of an arm.

    Args:
        arm: name of the arm.
        blocks: blocks file; empty: the blocks of the arm's entry.

    Raises:
        ValueError: the arm has no scene, and the message lists the arms that have one; or the
            blocks file is wrong.
    """
    scene = ROBOTS[arm].scene if arm in ROBOTS else None
    if scene is None and _grasps(arm):
        scene = _add_scene(arm).scene
    if scene is None:
        supported = ", ".join(name for name, spec in ROBOTS.items() if spec.scene)
        raise ValueError(f"there is no scene for '{arm}'; arms with one are {supported}")
    return read_blocks_file(blocks).apply(scene) if blocks else scene


def load_grasp_spec(arm: str) -> GraspSpec:
    """Return the grasp settings of an arm.

    Raises:
        ValueError: the arm cannot grasp; the message lists the arms that can.
    """
    grasp = ROBOTS[arm].grasp if arm in ROBOTS else None
    if grasp is None and _grasps(arm):
        grasp = _add_scene(arm).grasp
    if grasp is None:
        raise ValueError(
            f"no block to grasp for arm '{arm}'; arms with one are {', '.join(grasping_arms())}"
        )
    return grasp


def _add_scene(arm: str) -> RobotSpec:
    """Add the scene and the settings for grasping to the entry of an arm, and return it."""
    # these compute with the arm
    from invdyn_ros.robots.arm_defaults import default_grasp, default_scene
    from invdyn_ros.robots.robot import load_robot

    robot = load_robot(arm)
    ROBOTS[arm] = replace(ROBOTS[arm], scene=default_scene(robot), grasp=default_grasp(robot))
    return ROBOTS[arm]


def _grasps(arm: str) -> bool:
    """Return whether an arm of a user has a gripper."""
    return arm in ROBOTS and arm not in SHIPPED and ROBOTS[arm].gripper is not None


def grasping_arms() -> tuple[str, ...]:
    """Return the arms that can grasp a block."""
    return tuple(name for name, spec in ROBOTS.items() if spec.grasp)


if os.environ.get(REGISTERED):
    register_arm(os.environ[REGISTERED])
