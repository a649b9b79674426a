"""Configs and sizes of the families with an identified rigid body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from invdyn_ros.config import Validated

NUM_FRICTION_TERMS = 4  # viscous, Coulomb, offset, rotor inertia
NUM_JOINT_FEATURES = 3  # of a Gaussian process: sign of the velocity, velocity, acceleration
NUM_FOLDS = 5  # contiguous parts of the training data, held out in turn
FilterTimes = Annotated[tuple[NonNegativeFloat, ...], Field(min_length=1)]


@dataclass(frozen=True)
class RigidBodyConfig(Validated):
    """Identification of the parameters."""

    identify: bool = True
    """Identify inertia, friction, offset and rotor inertia; otherwise use those of the URDF."""
    coulomb_velocity: PositiveFloat = 0.005
    """[rad/s] Velocity at which Coulomb friction is fully developed."""
    min_velocity: float = 0.05
    """[rad/s] Slower joints may stick, and have little weight in the identification."""
    gear_friction: bool = True
    """Identify dry friction that rises towards standstill and with the load, where the validation
    data prefer it. URDF and MJCF have no place for it."""
    friction_filter_time: tuple[NonNegativeFloat, ...] = ()
    """[s] Time over which friction changes sign when a joint reverses, one for each joint; empty:
    estimated from the data."""


@dataclass(frozen=True)
class ResidualNetworkConfig(RigidBodyConfig):
    """Identification of the rigid body, and size of the network."""

    width: PositiveInt = 64
    """Units per hidden layer."""
    depth: PositiveInt = 2
    """Number of hidden layers."""


@dataclass(frozen=True)
class HybridConfig(Validated):
    """Identification and size of the Gaussian processes."""

    coulomb_velocity: PositiveFloat = 0.02
    """[rad/s] Velocity at which Coulomb friction is fully developed."""
    min_velocity: float = 0.05
    """[rad/s] Slower joints may stick, and have little weight in the identification."""
    friction_filter_times: FilterTimes = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2)
    """[s] Candidates for the time over which friction changes sign when a joint reverses, for
    instance because the recorded effort is filtered."""
    num_inducing: PositiveInt = 64
    """Inducing points of each Gaussian process."""
    num_selection_rows: Annotated[int, Field(ge=NUM_FOLDS)] = 2000
    """Evenly spaced frames for the selection of hyperparameters and the Gaussian processes."""


def residual_network_sizes(n: int, config: ResidualNetworkConfig) -> tuple[int, ...]:
    """Return the sizes of the layers of a residual network, inputs and outputs included.

    Args:
        n: number of joints.
        config: size of the network.
    """
    return (4 * n, *[config.width] * config.depth, n)


def gaussian_process_shapes(n: int, num_inducing: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a hybrid's Gaussian processes in a checkpoint.

    Args:
        n: number of joints.
        num_inducing: inducing points of each process.
    """
    d = NUM_JOINT_FEATURES + 3 * n
    return {
        "friction_filter_time": (n,),
        "inverse_length_scale": (n, d),
        "output_scale": (n,),
        "variance_weights": (n, 4),
        "in_distribution_variance": (n,),
        "inducing_points": (n, num_inducing, d),
        "mean_weights": (n, num_inducing),
        "variance_reduction": (n, num_inducing, num_inducing),
    }
