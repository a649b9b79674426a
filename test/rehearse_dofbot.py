"""The tutorial of the real DofBot, against its servo board and its camera in simulation.

    python test/rehearse_dofbot.py --calibrate --episodes 10 --out out/rehearsal

launches `grasp_sim arm:=dofbot target:=real` as a user does, and does what the program asks a
person to do: it engages the arm, also after a fault, and lays the block elsewhere after each
episode. The program sees the simulation only through pictures and servo registers. What it says of
each episode is printed beside what happened, and both are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filmed_dofbot import FilmedDofbot, filmed_scene, write_camera_info
from scipy.spatial.transform import Rotation

from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.graph.ros_domain import own_domain
from invdyn_ros.grasp.policies.success import GOAL_TOLERANCE, LIFT_HEIGHT
from invdyn_ros.nodes.graph_client import GraphClient, GraphOptions
from invdyn_ros.nodes.joint_jog import JointJog
from invdyn_ros.perception.block_detector import BlockDetector, BlockDetectorConfig
from invdyn_ros.perception.hand_eye.camera_pose import CameraPose, read_camera_pose, to_yaml
from invdyn_ros.robots.robot import load_robot

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"episode \d+: (?P<result>.*)\. Next: |(?P<fault>\[ERROR\].*'invdyn engage')")
START_TIMEOUT, EPISODE_TIMEOUT = 60.0, 120.0  # [s]
REST_TIME, MIN_HEIGHT = 1.2, 0.06  # [s] in each pose of a calibration, [m] of the tool in it


class Episode(NamedTuple):
    """What the program said of an episode, and what happened."""

    message: str
    lifted: bool
    distance: float  # [m] of the block from its goal
    seconds: float
    faults: int  # after each of which the arm was engaged again

    @property
    def agrees(self):
        """Whether the camera's judgement is the truth."""
        return self.message.startswith("placed") == (self.distance <= GOAL_TOLERANCE)


class Program:
    """An `invdyn` command, whose lines can be waited for."""

    def __init__(self, environment, *arguments):
        self.lines, self.changed = [], threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "invdyn_ros", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            print(f"  | {line}", end="", flush=True)
            with self.changed:
                self.lines.append(line)
                self.changed.notify()

    def wait_for(self, pattern, timeout):
        """Return the match of the next line with a pattern, None if none comes in time [s]."""
        deadline = time.monotonic() + timeout
        with self.changed:
            while True:
                while self.lines:
                    match = re.search(pattern, self.lines.pop(0))
                    if match:
                        return match
                left = deadline - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not self.changed.wait(1.0)):
                    return None
                self.changed.wait(left)

    def interrupt(self, timeout=100.0):
        """End it as Ctrl-C does, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(2)
        return self.process.wait(timeout)


def engage(environment):
    """Engage the arm as soon as the graph lets it."""
    deadline = time.monotonic() + START_TIMEOUT
    while subprocess.run(
        [sys.executable, "-m", "invdyn_ros", "engage"], env=environment, capture_output=True
    ).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError("the arm cannot be engaged")
        time.sleep(1.0)


def write_camera_pose(T, file):
    """Write the pose (4, 4) of a camera as `invdyn calibrate live` does."""
    quaternion = Rotation.from_matrix(T[:3, :3]).as_quat()
    pose = CameraPose(
        "dofbot", "eye_to_hand", tuple(T[:3, 3].tolist()), tuple(quaternion.tolist())
    )
    file.write_text(to_yaml(pose, load_robot("dofbot").base_link))


def calibrate(dofbot, environment, arguments, out, count=25):
    """Calibrate the pose of the camera as the tutorial does; return whether it succeeded."""
    graph = Program(environment, "launch", "grasp_sim", "policy:=none", *arguments)
    options = ["--arm", "dofbot", "--mounting", "eye_to_hand", "--no-detect", "--overwrite"]
    words = ["calibrate", "live", *options, "--out", str(out)]
    try:
        engage(environment)
        recorder = Program(environment, *words)
        domain = int(environment["ROS_DOMAIN_ID"])
        with GraphClient(GraphOptions(domain=domain)) as client:
            jog = JointJog(client)
            dofbot.block_in_fingers()
            jog.open_gripper(0.0)
            for q in islice(poses_in_view(dofbot.scene), count):
                while not go_to(jog, q):
                    engage(environment)
                client.spin(REST_TIME)
            code = recorder.interrupt()
            go_to(jog, load_robot("dofbot").home)
            jog.open_gripper(load_robot("dofbot").gripper.max_opening)
        return code == 0
    finally:
        graph.interrupt()


def poses_in_view(scene):
    """Yield joint positions (n,) in which the camera sees a block between the fingers."""
    rng, robot = np.random.default_rng(0), load_robot("dofbot")
    markers = BlockDetectorConfig(scene.block_size)
    detector = BlockDetector(markers, scene.camera.intrinsics())
    with SceneRenderer(robot, scene) as renderer:
        while True:
            q = robot.home + rng.uniform(-1, 1, robot.n) * [0.7, 0.5, 0.5, 0.6, 0.9]
            q += [0.0, -0.4, 0.4, 0.0, 0.0]
            q = np.clip(q, robot.lower + 0.05, robot.upper - 0.05)
            tool = robot.forward_kinematics(q)
            image = renderer.render(q, scene.block_size, tool[None])
            if tool[2, 3] > MIN_HEIGHT and tool[0, 3] > MIN_HEIGHT and detector.detect(image):
                yield q


def go_to(jog, q):
    """Move all joints to positions (n,); return whether the arm was driven there."""
    try:
        state = jog._next_plan(2.0)
        start = time.monotonic()
        while np.abs(np.array(state.position) - q).max() > 2e-3:
            if time.monotonic() - start > 10.0:
                return True  # the motion guard keeps it from there
            jog._publish(state, q.tolist())
            state = jog._next_plan(2.0)
    except ValueError:  # not engaged any more
        return False
    return True


def pose_error(T, true):
    """Return distance [mm] and angle [deg] between two poses (4, 4)."""
    angle = Rotation.from_matrix(T[:3, :3].T @ true[:3, :3]).magnitude()
    return 1e3 * np.linalg.norm(T[:3, 3] - true[:3, 3]), np.degrees(angle)


def run_episodes(dofbot, environment, arguments, count):
    """Launch the graph, run episodes, end it with Ctrl-C; return them and the exit code."""
    episodes, goal = [], np.array(dofbot.scene.goal)
    graph = Program(environment, "launch", "grasp_sim", *arguments)
    try:
        for _ in range(count):
            engage(environment)
            start, faults = time.monotonic(), 0
            while (match := graph.wait_for(LINE, EPISODE_TIMEOUT)) and match["fault"]:
                faults += 1
                engage(environment)
            if match is None:
                break
            distance = float(np.linalg.norm(dofbot.block_position() - goal))
            height = dofbot.highest - dofbot.scene.block_size / 2
            seconds = time.monotonic() - start
            lifted = height >= LIFT_HEIGHT
            episodes.append(Episode(match["result"], lifted, distance, seconds, faults))
            print(episodes[-1], flush=True)
            dofbot.place_block()
    finally:
        code = graph.interrupt()
    return episodes, code


def summary(episodes, count):
    """Return in one line what happened in a number of episodes."""
    placed = sum(e.distance <= GOAL_TOLERANCE and e.lifted for e in episodes)
    seconds = np.mean([e.seconds for e in episodes]) if episodes else np.nan
    return (
        f"placed {placed} of {count}, lifted {sum(e.lifted for e in episodes)}; the camera's "
        f"judgement was right in {sum(e.agrees for e in episodes)} of {len(episodes)}; "
        f"{sum(e.faults for e in episodes)} faults; {seconds:.1f} s per episode;"
    )


def main():
    """Run the episodes and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--episodes", type=int, default=1)
    parser.add_argument("--calibrate", action="store_true", help="find the camera's pose first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed", type=float, default=0.3)
    parser.add_argument("--out", type=Path, default=Path("out/rehearsal"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lens, pose = options.out / "webcam.yaml", options.out / "camera.yaml"
    report = options.out / "report.json"
    scene = filmed_scene(seed=options.seed)
    write_camera_info(scene, lens)
    write_camera_pose(scene.camera.T_base_camera, pose)
    with FilmedDofbot(scene, options.seed) as dofbot:
        path = os.pathsep.join([dofbot.environment["PYTHONPATH"], str(ROOT)])
        environment = os.environ | dofbot.environment | {"PYTHONPATH": path}
        environment["ROS_DOMAIN_ID"] = str(own_domain())
        arguments = ["arm:=dofbot", "target:=real", f"camera:={dofbot.url}"]
        arguments += [f"camera_info:={lens}", f"speed:={options.speed}"]
        if options.calibrate:
            if not calibrate(dofbot, environment, arguments, pose):
                return 1
            estimate = read_camera_pose(pose, "dofbot").T
            distance, angle = pose_error(estimate, scene.camera.T_base_camera)
            print(f"camera found within {distance:.2f} mm and {angle:.3f} deg", flush=True)
            dofbot.place_block()
        arguments += [f"camera_pose:={pose}", f"report:={report}", "overwrite:=true"]
        episodes, code = run_episodes(dofbot, environment, arguments, options.episodes)
    print(summary(episodes, options.episodes), f"exit code {code}")
    print(f"the report counts {json.loads(report.read_text())['successes']} successes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
