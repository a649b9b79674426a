"""Shipped networks predict what they did after their training or, older ones, at version 0.2.0."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from invdyn_ros.grasp.estimation.block_pose_network import ROBOT_STATE_DIM, load_block_pose_net
from invdyn_ros.grasp.policies.network import load_policy
from invdyn_ros.models.checkpoint import load
from invdyn_ros.models.export_parity import max_difference
from invdyn_ros.models.planner.planner import load_planner
from invdyn_ros.models.runtime import RUNTIMES, load_runtime
from invdyn_ros.models.timeseries.observations import Observations
from invdyn_ros.models.timeseries.registry import load_time_series_model
from invdyn_ros.robots.robot import package_file

CONFIG = package_file("config")
REFERENCE = dict(np.load(Path(__file__).with_name("shipped_predictions.npz")))


def inverse_dynamics(folder, rng):
    """Actions of random motions (4, 60, 3n)."""
    model = load(folder)
    motion = torch.tensor(rng.uniform(-1, 1, (4, 60, 3 * model.n)))
    time = torch.arange(60, dtype=torch.float64).expand(4, 60) / model.meta.rate + 100
    prediction = model.predict(motion, time)
    return {"mean": prediction.mean, "std": prediction.std}


def block_poses(folder, rng):
    """Block poses in three images of noise."""
    network = load_block_pose_net(folder)
    size = network.meta.network.pixels
    images = torch.tensor(rng.integers(0, 256, (3, size, size, 3), dtype=np.uint8))
    robot_states = torch.tensor(rng.uniform(-1, 1, (3, ROBOT_STATE_DIM)).astype(np.float32))
    with torch.inference_mode():
        output = network(images, robot_states)
    return {name: value for name, value in output._asdict().items() if name != "log_heatmaps"}


def policy_actions(folder, rng):
    """Actions for random observations."""
    policy = load_policy(folder)
    observations = rng.standard_normal((16, policy.meta.observation_size)).astype(np.float32)
    return {"": policy.act(observations)}


def plans(folder, rng):
    """Four plans from a random state."""
    planner = load_planner(folder)
    state = rng.uniform(-0.5, 0.5, 2 * len(planner.meta.joint_names)).astype(np.float32)
    condition = rng.standard_normal(planner.meta.condition_size).astype(np.float32)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        return {"": planner(torch.tensor(state), torch.tensor(condition), 4, generator)}


def states(folder, rng):
    """States of two motions of which four in ten samples are observed."""
    model, samples = load_time_series_model(folder), 40
    time = torch.tensor(np.cumsum(rng.uniform(0.002, 0.006, (2, samples)), 1))
    mask = torch.tensor(rng.uniform(size=(2, samples)) < 0.4)
    mask[:, 0] = True
    steps = rng.uniform(-0.1, 0.1, (2, 1, model.n)), rng.normal(0, 0.002, (2, samples, model.n))
    q = steps[0] + np.cumsum(steps[1], 1)
    q[..., 1] += 1.2  # [m] above the floor
    state = torch.tensor(np.concatenate([q, np.gradient(q, axis=1) / 0.004], -1))
    return {"": model.predict(Observations(state, time, mask))}


PREDICT = {
    "checkpoints/*": inverse_dynamics,
    "block_pose/*": block_poses,
    "policies/*": policy_actions,
    "planners/*": plans,
    "timeseries/checkpoints/*": states,
}
SHIPPED = {
    folder: predict
    for pattern, predict in PREDICT.items()
    for folder in sorted(CONFIG.glob(pattern))
}


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: str(folder.relative_to(CONFIG)))
def test_shipped_network_predicts_the_same_as_before(folder):
    torch.set_num_threads(1)
    name = str(folder.relative_to(CONFIG)).replace("/checkpoints", "")
    outputs = SHIPPED[folder](folder, np.random.default_rng(zlib.crc32(name.encode())))
    for key, value in outputs.items():
        if value is not None:
            expected = REFERENCE[f"{name}/{key}".rstrip("/")]
            # to the bit on the machine of the reference; other processors round differently
            np.testing.assert_allclose(np.asarray(value), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", [path.name for path in CONFIG.glob("checkpoints/*")])
def test_live_runtime_of_a_shipped_checkpoint_predicts_like_its_model(name):
    model, runtime = (f(CONFIG / "checkpoints" / name) for f in (load, load_runtime))
    assert isinstance(runtime, RUNTIMES[model.meta.family])
    assert max_difference(model, runtime) < 1e-9


def test_every_reference_has_a_shipped_network():
    names = {str(folder.relative_to(CONFIG)).replace("/checkpoints", "") for folder in SHIPPED}
    assert {"/".join(key.split("/")[:2]) for key in REFERENCE} == names
