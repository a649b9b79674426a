"""Node that answers the motions of other programs with the torques of a model."""

import numpy as np
import pytest
from node_probe import UR5
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from invdyn_ros.models.mujoco_rigid_body import urdf_model
from invdyn_ros.models.predictor import PredictedAction
from invdyn_ros.models.runtime import predict_motion
from invdyn_ros.nodes.inverse_dynamics_solver import InverseDynamicsSolverNode, message_to_motion
from invdyn_ros.nodes.messages import ForeignMessage, to_stamp

REQUEST, ANSWER = "/inverse_dynamics_solver/compute", "/inverse_dynamics_solver/computed"
NAMES = ("a", "b")


def request(stamp, names, *rows):
    """Return a trajectory whose points have the columns of each row."""
    points = [JointTrajectoryPoint(positions=row[0]) for row in rows]
    for point, row in zip(points, rows, strict=True):
        point.velocities, point.accelerations = (*row, [], [])[1:3]
    message = JointTrajectory(joint_names=list(names), points=points)
    message.header.stamp = to_stamp(stamp)
    return message


def test_batch_is_answered_by_name_with_the_torques_of_the_model(start_node, tmp_path):
    from invdyn_ros.models.checkpoint import save
    from invdyn_ros.models.registry import build

    model = build(urdf_model(UR5, "N m").meta)
    save(model, model.meta, tmp_path)
    parameters = {"checkpoint": tmp_path, "unit": "'N m without gravity'"}
    probe, answers = start_node(
        InverseDynamicsSolverNode, [(ANSWER, JointTrajectory)], **parameters
    )
    publisher = probe.advertise(REQUEST, JointTrajectory)
    rng, still = np.random.default_rng(0), np.zeros(6)
    motions = rng.normal(size=(5, 3, 6))
    order = [5, 2, 0, 1, 4, 3]
    rows = [[column[order].tolist() for column in motion] for motion in motions]
    message = request(7, [UR5.joint_names[k] for k in order], *rows)
    publisher.publish(request(3, NAMES, [[0.0, 0.0]]))  # ignored
    publisher.publish(message)
    probe.wait_until(lambda: answers)
    (reply,) = answers
    assert (reply.header, reply.joint_names) == (message.header, message.joint_names)
    for point, motion in zip(reply.points, motions, strict=True):
        held = UR5.inverse_dynamics(motion[0], still, still)
        expected = UR5.inverse_dynamics(*motion) - held
        np.testing.assert_allclose(point.effort, expected[order], atol=1e-6)
        assert list(point.positions) == motion[0][order].tolist()


def test_model_of_setpoints_is_refused(run_until_error):
    line = run_until_error(InverseDynamicsSolverNode, arm="dofbot")
    assert "actions in 'rad'" in line


def test_request_that_is_no_motion_is_refused():
    q = [1.0, 2.0]
    motion, time = message_to_motion(request(0, "ba", [q, [3.0, 4.0]]), NAMES)
    assert motion.tolist() == [[2, 1, 4, 3, 0, 0]] and time.tolist() == [0]
    for message, reason in (
        (request(0, "ac", [q]), "joints"),
        (request(0, "ab"), "0 points"),
        (request(0, "ab", [q, [1.0]]), "values for 2 joints"),
        (request(0, "ab", [q], [[1.0]]), "values for 2 joints"),
        (request(0, "ab", [[1.0, float("nan")]]), "not finite"),
    ):
        with pytest.raises(ForeignMessage, match=reason):
            message_to_motion(message, NAMES)


class Recent:
    """Model of the mean of the last three positions, to see which frames it gets."""

    n_obs_steps = 3
    meta = urdf_model(UR5, "N m").meta

    def predict(self, motion, time):
        assert (np.diff(time, axis=1) > 0).all()
        mean = motion[..., :6].mean(1, keepdims=True)
        return PredictedAction(np.repeat(mean, 3, axis=1), None)


def test_model_of_several_frames_gets_the_motion_before_each():
    motion = np.zeros((4, 18))
    motion[:, 0] = [3.0, 6.0, 9.0, 0.0]
    actions = predict_motion(Recent(), motion, np.arange(4) / 100)
    assert actions[:, 0].tolist() == pytest.approx([3, 4, 6, 5])
