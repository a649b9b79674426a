"""A simulated DofBot at a table behind its real interfaces: an I2C bus, and a camera's stream.

The servo board moves an arm in PyBullet, whose fingers hold or lose a block, in real time; another
process films it. Programs know nothing of the simulation but registers and pictures.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
import time
from contextlib import ExitStack
from multiprocessing.connection import Listener
from pathlib import Path

import cv2
import numpy as np
from mjpeg_server import serve_mjpeg
from servo_board import ServoBoard

from invdyn_ros.arms.dofbot_bus import (
    SERVOS,
    joints_to_servos,
    opening_to_servo,
    servo_to_opening,
    servos_to_joints,
)
from invdyn_ros.arms.domain_randomization import load_randomization, randomize_scene
from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.arms.rendering import SceneRenderer
from invdyn_ros.perception.calibration_file import to_calibration_yaml
from invdyn_ros.perception.camera_intrinsics import CameraIntrinsics
from invdyn_ros.robots.robot import load_robot
from invdyn_ros.robots.scene import quaternion_pose

STAND_IN = Path(__file__).parent / "i2c_stand_in"
FRAME_RATE = 12.0  # [Hz] of the camera
MAX_LAG = 0.2  # [s] of a busy machine that the simulation does not catch up
ROBOT = load_robot("dofbot")


class SimulatedBoard(ServoBoard):
    """Servo board whose servos are those of a simulated arm in another process."""

    def __init__(self, shared):
        super().__init__(time.monotonic)
        self.shared = shared

    def count(self, i):
        return round(self.shared.measured[i])

    def move(self, i, count, duration):
        assert 96 <= count <= 4000
        if self.torque:  # from the last setpoint: a servo that sags goes on from there
            now, moves = self.clock(), self.shared.moves
            moves[4 * i : 4 * i + 4] = [setpoint(moves, i, now), count, now, duration]


def setpoint(moves, i, now):
    """Return where servo i should be at a time [s], in counts."""
    first, last, since, duration = moves[4 * i : 4 * i + 4]
    done = min((now - since) / duration, 1.0) if duration else 1.0
    return first + done * (last - first)


class Shared:
    """What the processes know of each other.

    Attributes:
        moves: start, end [counts], start time and duration [s] of the last move of each servo.
        measured: where each servo is [counts].
        view: joint positions, opening and poses of the blocks, for the camera.
        block: true centre of the block, and its largest height since it was placed [m].
    """

    def __init__(self, context, scene):
        self.moves, self.measured = context.Array("d", 4 * 6), context.Array("d", 6)
        self.view = context.Array("d", ROBOT.n + 1 + 16 * scene.num_blocks)
        self.block = context.Array("d", 4)


class FilmedDofbot(ExitStack):
    """The arm, the table and the block, with an I2C bus and a camera.

    Attributes:
        environment: variables with which a process reaches the bus.
        url: of the camera.
        scene: the table, and the camera where it is.
    """

    def __init__(self, scene, seed=0):
        """Start arm, bus and camera of a scene."""
        super().__init__()
        self.scene, context = scene, multiprocessing.get_context("spawn")
        self.shared = Shared(context, scene)
        self._arm = self._start(context, simulate, scene, self.shared, seed)
        assert self._arm.recv() == "ready"
        camera = self._start(context, film, scene, self.shared.view, seed)
        self.url = camera.recv()
        self.board, self.lock = SimulatedBoard(self.shared), threading.Lock()
        folder = self.enter_context(tempfile.TemporaryDirectory(prefix="dofbot_"))
        address = str(Path(folder) / "i2c")
        listener = self.enter_context(Listener(address, "AF_UNIX"))
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
        self.environment = {"I2C_SOCKET": address, "PYTHONPATH": str(STAND_IN)}

    def _start(self, context, work, *arguments):
        """Start a process that ends when it is told so, and return the pipe to it."""
        pipe, other = context.Pipe()
        process = context.Process(target=work, args=(*arguments, other), daemon=True)
        process.start()
        self.callback(process.join, 10)
        self.callback(pipe.send, "end")
        return pipe

    def place_block(self):
        """Lay the block at a random place in its area, as a person does between episodes."""
        self._ask("place")

    def block_in_fingers(self):
        """Hold the block between the fingers until they close on it, as a person does."""
        self._ask("hold")

    def block_position(self):
        """Return the true centre of the block (3,) [m]."""
        return np.array(self.shared.block[:3])

    @property
    def highest(self):
        """Largest height of the centre of the block since it was placed [m]."""
        return self.shared.block[3]

    def _ask(self, what):
        self._arm.send(what)
        assert self._arm.recv() == what

    def _serve(self, listener):
        """Answer the calls of each program that opens the bus."""
        while True:
            try:
                connection = listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        while True:
            try:
                name, *arguments = connection.recv()
            except EOFError:
                return
            try:
                with self.lock:
                    result = getattr(self.board, name)(*arguments)
            except Exception as error:
                result = error
            connection.send(result)


def simulate(scene, shared, seed, pipe):
    """Step the physics in real time, towards the setpoints of the board."""
    is_held = False  # by a person, between fingers that do not touch it on both sides yet
    simulation = Simulation(ROBOT, scene=scene, seed=seed)
    shared.measured[:] = measured_counts(simulation)
    for i, count in enumerate(shared.measured):
        shared.moves[4 * i : 4 * i + 4] = [count, count, 0.0, 0.0]
    note(simulation, shared)
    pipe.send("ready")
    due = time.monotonic()
    while True:
        due = max(due + 1 / ROBOT.rate, time.monotonic() - MAX_LAG)
        time.sleep(max(due - time.monotonic(), 0.0))
        now, moves = time.monotonic(), shared.moves[:]
        angles = [servo.angle(setpoint(moves, i, now)) for i, servo in enumerate(SERVOS)]
        opening = servo_to_opening(angles[-1], ROBOT.gripper.max_opening)
        simulation.step(servos_to_joints(np.array(angles[:-1])), opening)
        if pipe.poll():
            request = pipe.recv()
            if request == "end":
                return
            if request == "place":
                simulation.place_blocks()
            is_held = request == "hold"
            shared.block[3] = 0.0
            pipe.send(request)
        is_held = is_held and not simulation.is_grasping()
        if is_held:
            simulation.blocks.move(0, ROBOT.forward_kinematics(simulation.true_state()[0]))
        shared.measured[:] = measured_counts(simulation)
        note(simulation, shared)


def note(simulation, shared):
    """Give the camera what it is to see, and note the truth."""
    poses = [quaternion_pose(*pose) for pose in simulation.block_poses()]
    q, opening = simulation.true_state()[0], simulation.state().opening
    shared.view[:] = [*q, opening, *np.ravel(poses)]
    centre = poses[0][:3, 3]
    shared.block[:] = [*centre, max(shared.block[3], centre[2])]


def measured_counts(simulation):
    """Return where the servos of a simulated arm are [counts]."""
    sample, largest = simulation.state(), ROBOT.gripper.max_opening
    gripper = opening_to_servo(float(np.clip(sample.opening, 0.0, largest)), largest)
    angles = [*joints_to_servos(sample.q), gripper]
    return [unclipped_count(servo, angle) for servo, angle in zip(SERVOS, angles, strict=True)]


def unclipped_count(servo, angle):
    """Return the count of an angle [deg], which a pushed servo may have outside its commands."""
    offset = servo.angle_range - angle if servo.inverted else angle
    return servo.low_count + (servo.high_count - servo.low_count) * offset / servo.angle_range


def film(scene, view, seed, pipe):
    """Serve pictures of the simulation; runs in a process of its own, since each takes long."""
    renderer = SceneRenderer(ROBOT, scene, seed)
    due = time.monotonic()

    def next_jpeg():
        nonlocal due
        due = max(due + 1 / FRAME_RATE, time.monotonic())
        time.sleep(max(due - time.monotonic(), 0.0))
        values = np.array(view[:])
        q, opening, poses = values[: ROBOT.n], values[ROBOT.n], values[ROBOT.n + 1 :]
        image = renderer.render(q, opening, poses.reshape(-1, 4, 4))
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92]
        return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)[1].tobytes()

    with serve_mjpeg(next_jpeg) as url:
        pipe.send(url)
        pipe.recv()  # the end


def filmed_scene(noise="default", seed=0):
    """Return a scene whose camera stands where nobody but a calibration knows."""
    from invdyn_ros.robots.registry import load_scene

    return randomize_scene(load_scene("dofbot"), load_randomization(noise), seed, 0)


def write_camera_info(scene, file):
    """Write the calibration of the lens, as `invdyn calibrate camera` does."""
    camera = scene.camera
    size = {"width": camera.width, "height": camera.height}
    file.write_text(to_calibration_yaml(CameraIntrinsics(camera.intrinsics(), **size), "webcam"))
