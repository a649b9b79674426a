"""Lagrangian dynamics with a learned energy, without a URDF.

The inertia is positive definite and the torque obeys the Euler-Lagrange equations, whatever the
weights are (Lutter, Ritter, Peters 2019, arXiv 1907.04490). With the kinetic energy
K = 1/2 qd' M(q) qd of M = A' A and the potential energy V,

    tau = M qdd + dM/dt qd - d(K - V)/dq

`ChainEnergy` gives A and V. The term with dM/dt is a derivative of A in the direction qd.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from invdyn_ros.config import Validated
from invdyn_ros.data.action_units import is_torque
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.chain_energy import ChainEnergy
from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction
from invdyn_ros.models.least_squares_identification import row_weight
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.neural_network import turning_joints

INITIAL_FRICTION = -3.0  # its softplus is 0.05 of the standard deviation of the target
INITIAL_LOAD = -4.0  # its sigmoid is 0.02
INITIAL_STRIBECK_VELOCITY = 0.1  # [rad/s]
MIN_ROTOR_INERTIA = 1e-4  # in units of the inertia that the data suggest


@dataclass(frozen=True)
class LagrangianConfig(Validated):
    """Size of the network, and dry friction."""

    width: PositiveInt = 64
    """Products of one factor for each joint."""
    rows: PositiveInt = 16
    """Rows of the factor of the inertia."""
    coulomb_velocity: PositiveFloat = 0.02
    """[rad/s] Velocity at which Coulomb friction is fully developed."""
    min_velocity: NonNegativeFloat = 0.05
    """[rad/s] Slower joints may stick, and have little weight."""


class GearFriction(nn.Module):
    """Friction of geared joints, in units of the target's standard deviation and of its torque.

    viscous qd + offset + (coulomb + stribeck exp(-(qd / v_s)^2) + load |torque|) tanh(qd / v),
    where all coefficients but the offset are positive, and load less than 1.
    """

    def __init__(self, n: int, coulomb_velocity: float) -> None:
        """Start with little friction of n joints.

        Args:
            n: number of joints.
            coulomb_velocity: v [rad/s].
        """
        super().__init__()
        self.coulomb_velocity = coulomb_velocity
        for name in ("viscous", "coulomb", "stribeck"):  # through softplus
            self.register_parameter(name, nn.Parameter(torch.full((n,), INITIAL_FRICTION)))
        self.load = nn.Parameter(torch.full((n,), INITIAL_LOAD))
        self.log_narrowness = nn.Parameter(torch.zeros(n))
        self.offset = nn.Parameter(torch.zeros(n))

    def forward(self, qd: Tensor, qd_std: Tensor, torque: Tensor) -> Tensor:
        """Return the friction (..., n).

        Args:
            qd: (..., n) velocities [rad/s].
            qd_std: (n,) their standard deviation.
            torque: (..., n) that the gears transmit, in units of the target's standard deviation.
        """
        viscous, coulomb, stribeck = (
            functional.softplus(self.get_parameter(name))
            for name in ("viscous", "coulomb", "stribeck")
        )
        narrowness = torch.exp(self.log_narrowness) / INITIAL_STRIBECK_VELOCITY
        dry = coulomb + stribeck * torch.exp(-((narrowness * qd) ** 2))
        dry = dry + torch.sigmoid(self.load) * torque.abs()
        return viscous / qd_std * qd + self.offset + dry * torch.tanh(qd / self.coulomb_velocity)


class Lagrangian(InverseDynamics):
    """Learned Lagrangian with friction and rotor inertia, for each frame; causal.

    The target of joint j is c_j tau_j + rotor_j qdd_j + friction_j, where the rotor inertia is
    positive. c_j is 1 for torques, so that the derivative by the accelerations is symmetric and
    positive definite but for friction by load, which scales its rows by positive numbers; for
    servos and currents c_j is learned.
    """

    Config = LagrangianConfig
    config: LagrangianConfig

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the model with random weights."""
        super().__init__(meta)
        turning = torch.tensor(turning_joints(meta))
        self.energy = ChainEnergy(turning, self.config.width, self.config.rows)
        n = self.n
        self.friction = GearFriction(n, self.config.coulomb_velocity)
        self.rotor = nn.Parameter(torch.full((n,), INITIAL_FRICTION))  # through softplus
        learned = not is_torque(meta.action_unit)
        self.log_compliance = nn.Parameter(torch.zeros(n), requires_grad=learned)

    @property
    def inertia_scale(self) -> Tensor:
        """Inertia (n,) that the data suggest, in the target's unit per acceleration."""
        return self.target_std / self.motion_std[2 * self.n :]

    def lagrangian_torque(self, q: Tensor, qd: Tensor, qdd: Tensor) -> Tensor:
        """Return the torque (..., n) of the Lagrangian, before friction and rotor inertia.

        Args:
            q: (..., n) positions [rad].
            qd: (..., n) velocities [rad/s].
            qdd: (..., n) accelerations [rad/s2].
        """
        shape, n = q.shape, self.n
        q, qd, qdd = (x.reshape(-1, n).T.unsqueeze(-1) for x in (q, qd, qdd))  # (n, N, 1)
        mean, std, root = (
            x[:, None, None]
            for x in (self.motion_mean[:n], self.motion_std[:n], self.inertia_scale.sqrt())
        )
        state = self.energy(q, (q - mean) / std, 1 / std, qd)
        A, dA = state.columns, state.column_rates
        v = root * qd
        momentum = (A * v).sum(0)  # (N, rows)
        force = (A * (root * qdd) + dA * v).sum(0)
        inertial = root.squeeze(-1) * (A * force + dA * momentum).sum(-1)
        gradient = self.energy.gradient(state, v, momentum, self.target_std.max())
        return (inertial + gradient).T.reshape(shape)

    def predict_target(self, motion: Tensor) -> Tensor:
        """Return the target (..., n) of a motion (..., 3n)."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        rigid = torch.exp(self.log_compliance) * self.lagrangian_torque(q, qd, qdd)
        rotor = (functional.softplus(self.rotor) + MIN_ROTOR_INERTIA) * self.inertia_scale
        qd_std = self.motion_std[self.n : 2 * self.n]
        friction = self.friction(qd, qd_std, rigid / self.target_std)
        return rigid + rotor * qdd + self.target_std * friction

    def standardise(self, train: Windows) -> None:
        """Compute mean and standard deviation, and start from the mean target."""
        super().standardise(train)
        with torch.no_grad():
            self.friction.offset.copy_(self.target_mean / self.target_std)

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error in units of the target's variance.

        Joints that may stick have less weight.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
            action: (B, T, n).
        """
        error = self.predict_target(motion) - self.target(motion, action)
        weight = row_weight(motion[..., self.n : 2 * self.n], self.config.min_velocity)
        return (weight * error / self.target_std).square().mean()

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions; there is no standard deviation."""
        return Prediction(self.action(motion, self.predict_target(motion)), None)
