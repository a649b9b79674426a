"""What an arm that only a URDF describes lacks: home, accelerations, and a scene for grasping."""

from __future__ import annotations

import numpy as np

from invdyn_ros.robots.pinhole_camera import PinholeCamera
from invdyn_ros.robots.robot import Robot
from invdyn_ros.robots.robot_spec import GraspSpec
from invdyn_ros.robots.scene import Scene
from invdyn_ros.typing import Array

NUM_SAMPLES = 500  # random configurations
TIME_TO_TOP_SPEED = 0.25  # [s] of the fastest acceleration
EFFORT_FRACTION = 0.9  # of the limit, for gravity and acceleration together
LARGE_PART = 0.1  # of the torque of a joint, of an acceleration that takes part
MIN_PART = 1e-9  # of the torque of a joint, below which an acceleration takes no part
MIN_EFFORT_FRACTION = 0.1  # of the limit, that is left beside gravity in any case
NUM_SEEDS = 6  # initial configurations of the inverse kinematics
# distance and height of the tool at home, per reach [-], in the order in which they are tried
TOOL_PLACES = ((0.46, 0.3), (0.55, 0.35), (0.55, 0.5), (0.65, 0.5))
ELBOW_HEIGHT = 0.2  # of the joints between, per reach: lower ones bring links near the table [-]
UR5_REACH = 1.03  # [m] of the arm that the scene is made for
MIN_PHYSICS_RATE = 250.0  # [Hz] with which an arm moves and grips as at a higher one
MAX_BLOCK_SIZE, BLOCK_PER_OPENING = 0.04, 0.5  # [m], [-]


def reach(robot: Robot) -> float:
    """Return how far the tool reaches from the second joint [m], a high percentile."""
    model = robot.model()
    link = model.body(model.jnt_bodyid[min(1, robot.n - 1)]).name
    samples = _configurations(robot)
    points = [
        robot.forward_kinematics(q)[:3, 3] - robot.forward_kinematics(q, link)[:3, 3]
        for q in samples
    ]
    return float(np.percentile(np.linalg.norm(points, axis=1), 99))


def feasible_acceleration(robot: Robot) -> Array:
    """Return accelerations (n,) [rad/s2] that reach top speed soon and that the efforts allow.

    All grow together until gravity and all accelerations at once take EFFORT_FRACTION of the
    effort of a joint in a sampled posture; then those that take part in it stop growing.
    """
    zero, goal = np.zeros(robot.n), robot.velocity / TIME_TO_TOP_SPEED
    samples = _configurations(robot)[:: NUM_SAMPLES // 100]
    gravity = np.array([robot.inverse_dynamics(q, zero, zero) for q in samples])
    inertia = np.abs([robot.mass_matrix(q) for q in samples]).reshape(-1, robot.n)  # (rows, n)
    torque = inertia * goal  # (rows, n) of a joint by each acceleration
    available = EFFORT_FRACTION * robot.effort - np.abs(gravity)
    available = np.maximum(available, MIN_EFFORT_FRACTION * robot.effort).ravel()
    acceleration, grows = zero, np.ones(robot.n, bool)
    while grows.any():
        rest = available - (inertia * acceleration * ~grows).sum(axis=1)
        growing = (torque * grows).sum(axis=1)
        takes_part = growing > MIN_PART * torque.sum(axis=1)  # else the rest is rounding
        scales = np.full(len(rest), np.inf)
        np.divide(np.maximum(rest, 0.0), growing, out=scales, where=takes_part)
        tight = int(np.argmin(scales))
        acceleration = np.where(grows, min(float(scales[tight]), 1.0) * goal, acceleration)
        if scales[tight] >= 1:
            break
        part = torque[tight] * grows / growing[tight]
        grows &= part < min(LARGE_PART, part.max())
    return acceleration


def default_home(robot: Robot) -> Array:
    """Return a posture (n,) [rad] with the tool in front of the arm, pointing down.

    It is the one farthest from the joint limits, from singular postures and, with its elbow, from
    the table; where the arm cannot point down, its zero position, or the one nearest to it.
    """
    from invdyn_ros.robots.inverse_kinematics import PoseIKSolver  # slow to import

    length, solver = reach(robot), PoseIKSolver(robot)
    seeds = [(robot.lower + robot.upper) / 2, *_configurations(robot)[: NUM_SEEDS - 1]]
    for distance, height in TOOL_PLACES:
        best, best_score = None, 0.0
        for yaw in (0.0, np.pi / 2, np.pi, -np.pi / 2):
            pose = np.eye(4)
            c, s = np.cos(yaw), np.sin(yaw)
            pose[:3, :3] = [[c, s, 0], [s, -c, 0], [0, 0, -1]]
            pose[:3, 3] = [distance * length, 0.0, height * length]
            for seed in seeds:
                q = solver.solve(pose, seed)
                if q is not None and (score := _posture_score(robot, q, length)) > best_score:
                    best, best_score = q, score
        if best is not None:
            return np.asarray(best, float)
    return np.clip(0.0, robot.lower, robot.upper)


def default_scene(robot: Robot) -> Scene:
    """Return a table with a block below the tool at home, and a camera that looks at it."""
    x, y, _ = robot.forward_kinematics(robot.home)[:3, 3]
    scale = min(reach(robot) / UR5_REACH, 1.0)
    opening = robot.gripper.max_opening if robot.gripper else MAX_BLOCK_SIZE
    size = min(MAX_BLOCK_SIZE, BLOCK_PER_OPENING * opening)
    camera = PinholeCamera.look_at(
        (x + 0.325 * scale, y, 0.405 * scale), (x, y, 0.02 * scale), focal=850.0
    )
    return Scene(
        camera,
        block_size=size,
        area_x=(x - 0.1 * scale, x + 0.1 * scale),
        area_y=(y - 0.1 * scale, y + 0.1 * scale),
        goal=(x - 0.05 * scale, y - 0.165 * scale, size / 2),
    )


def default_grasp(robot: Robot) -> GraspSpec:
    """Return the settings of the grasp environments of an arm with a gripper."""
    scale = min(reach(robot) / UR5_REACH, 1.0)
    rate = robot.rate * np.ceil(MIN_PHYSICS_RATE / robot.rate)
    return GraspSpec(robot.name, rate, clearance=0.08 * scale, lift_height=0.1 * scale)


def _configurations(robot: Robot) -> Array:
    """Return random configurations (NUM_SAMPLES, n) [rad], the same ones in each call."""
    rng = np.random.default_rng(0)
    return rng.uniform(robot.lower, robot.upper, (NUM_SAMPLES, robot.n))


def _lowest_elbow(robot: Robot, q: Array) -> float:
    """Return the height [m] of the lowest joint between the second one and the last one."""
    model = robot.model()
    links = [model.body(body).name for body in model.jnt_bodyid[2:-1]]
    heights = [robot.forward_kinematics(q, link)[2, 3] for link in links]
    return min(heights, default=np.inf)


def _posture_score(robot: Robot, q: Array, length: float) -> float:
    """Return how far a posture is from joint limits and singularities, 0 to 1."""
    middle, half = (robot.lower + robot.upper) / 2, (robot.upper - robot.lower) / 2
    margin = float((1 - np.abs(q - middle) / half).min())
    margin *= float(np.clip(_lowest_elbow(robot, q) / (ELBOW_HEIGHT * length), 0.05, 1.0))
    jacobian = robot.jacobian(q)
    jacobian[:3] /= length
    singular_values = np.linalg.svd(jacobian, compute_uv=False)
    return margin * float(singular_values[min(robot.n, 6) - 1])
