"""Lagrangian dynamics with a learned energy, without a URDF.

The inertia is positive definite and the torque obeys the Euler-Lagrange equations, whatever the
weights are (Lutter, Ritter, Peters 2019, arXiv 1907.04490). With the kinetic energy
K = 1/2 qd' M(q) qd of M = L L' and the potential energy V,

    tau = M qdd + dM/dt qd - d(K - V)/dq

A network of the joint positions gives L, lower triangular, and V. The term with dM/dt is its
derivative in the direction qd, and the last term the gradient of one weighted sum of its outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from invdyn_ros.config import Validated
from invdyn_ros.data.action_units import is_torque
from invdyn_ros.data.windows import Windows
from invdyn_ros.models.inverse_dynamics import InverseDynamics, Prediction
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.neural_network import turning_joints

INITIAL_DIAGONAL = 0.5  # of L, in units of the inertia that the data suggest
INITIAL_FRICTION = -3.0  # its softplus is 0.05 of the standard deviation of the target
MIN_ROTOR_INERTIA = 1e-4  # in units of the inertia that the data suggest


@dataclass(frozen=True)
class LagrangianConfig(Validated):
    """Size of the network, and dry friction."""

    width: PositiveInt = 64
    """Units per hidden layer."""
    depth: PositiveInt = 2
    """Number of hidden layers."""
    coulomb_velocity: PositiveFloat = 0.02
    """[rad/s] Velocity at which Coulomb friction is fully developed."""


class Energy(NamedTuple):
    """Outputs of the network for a state, and what its gradient needs."""

    factor: Tensor  # (..., n, n) L
    factor_rate: Tensor  # (..., n, n) dL/dt
    hidden: tuple[Tensor, ...]  # activations of each layer


class EnergyNetwork(nn.Module):
    """Network from joint positions to the factor L of the inertia and the potential energy.

    The positions enter as sine and cosine, so that a whole turn changes nothing; those of
    prismatic joints are standardised. Derivatives are written out: they are exported like any
    other operation, and cost one pass each.
    """

    periodic: Tensor  # (n,) whether the joint is no prismatic one
    entries: Tensor  # (m, n n) maps the m entries of L to the matrix

    def __init__(self, periodic: Tensor, width: int, depth: int) -> None:
        """Build the network with random weights.

        Args:
            periodic: (n,) whether a whole turn of the joint changes nothing.
            width: units per hidden layer.
            depth: number of hidden layers.
        """
        super().__init__()
        n = len(periodic)
        rows, columns = torch.tril_indices(n, n)
        entries = functional.one_hot(rows * n + columns, n * n).to(torch.get_default_dtype())
        self.register_buffer("periodic", periodic, persistent=False)
        self.register_buffer("entries", entries, persistent=False)
        sizes = [2 * n, *[width] * depth]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self._weights = [f"layers.{k}.weight" for k in range(depth)]
        self.head = nn.Linear(width, len(rows) + 1)
        with torch.no_grad():
            self.head.bias[:-1] = INITIAL_DIAGONAL * (rows == columns)

    def forward(self, q: Tensor, scaled_q: Tensor, rate: Tensor, scaled_rate: Tensor) -> Energy:
        """Return the energy at a state.

        Args:
            q: (..., n) positions [rad].
            scaled_q: (..., n) standardised positions.
            rate: (..., n) velocities [rad/s].
            scaled_rate: (..., n) rates of the standardised positions [1/s].
        """
        x = torch.cat(
            [
                torch.where(self.periodic, torch.sin(q), scaled_q),
                torch.where(self.periodic, torch.cos(q), torch.zeros_like(q)),
            ],
            dim=-1,
        )
        dx = torch.cat(
            [
                torch.where(self.periodic, torch.cos(q) * rate, scaled_rate),
                torch.where(self.periodic, -torch.sin(q) * rate, torch.zeros_like(q)),
            ],
            dim=-1,
        )
        hidden: list[Tensor] = []
        for layer, name in zip(self.layers, self._weights, strict=True):
            x = torch.tanh(layer(x))
            dx = (1 - x * x) * functional.linear(dx, self.get_parameter(name))
            hidden.append(x)
        # the potential is the last output; only its gradient has an effect
        weight, bias = self.head.weight[:-1], self.head.bias[:-1]
        values, rates = functional.linear(x, weight, bias), functional.linear(dx, weight)
        n = q.shape[-1]
        return Energy(
            (values @ self.entries).unflatten(-1, (n, n)),
            (rates @ self.entries).unflatten(-1, (n, n)),
            tuple(hidden),
        )

    def gradient(self, q: Tensor, scale: Tensor, energy: Energy, weights: Tensor) -> Tensor:
        """Return the gradient (..., n) by q of a weighted sum of all outputs.

        Args:
            q: (..., n) positions [rad].
            scale: (n,) change of the standardised position per position.
            energy: at these positions.
            weights: (..., m + 1) of the entries of L and of the potential energy.
        """
        x = weights @ self.head.weight
        for name, value in zip(reversed(self._weights), reversed(energy.hidden), strict=True):
            x = (x * (1 - value * value)) @ self.get_parameter(name)
        by_sine, by_cosine = x.split(q.shape[-1], dim=-1)
        turning = by_sine * torch.cos(q) - by_cosine * torch.sin(q)
        return torch.where(self.periodic, turning, by_sine * scale)


class Lagrangian(InverseDynamics):
    """Learned Lagrangian with friction and rotor inertia, for each frame; causal.

    The target of joint j is c_j tau_j + rotor_j qdd_j + viscous_j qd_j + coulomb_j tanh(qd_j / v)
    + offset_j, where rotor, viscous and Coulomb friction are not negative. c_j is 1 for torques,
    which makes the derivative by the accelerations symmetric and positive definite; for servos and
    currents it is learned.
    """

    Config = LagrangianConfig
    config: LagrangianConfig

    def __init__(self, meta: ModelMetadata) -> None:
        """Build the model with random weights."""
        super().__init__(meta)
        turning = torch.tensor(turning_joints(meta))
        self.energy = EnergyNetwork(turning, self.config.width, self.config.depth)
        n = self.n
        for name in ("rotor", "viscous", "coulomb"):  # through softplus, in units of the data
            self.register_parameter(name, nn.Parameter(torch.full((n,), INITIAL_FRICTION)))
        self.offset = nn.Parameter(torch.zeros(n))
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
        n, root = self.n, self.inertia_scale.sqrt()
        mean, std = self.motion_mean[:n], self.motion_std[:n]
        energy = self.energy(q, (q - mean) / std, qd, qd / std)
        L, dL = energy.factor, energy.factor_rate
        v, a = (root * qd).unsqueeze(-1), (root * qdd).unsqueeze(-1)  # (..., n, 1)
        turned = L.transpose(-1, -2)  # .mT cannot be exported
        momentum = turned @ v
        inertial = L @ (turned @ a + dL.transpose(-1, -2) @ v) + dL @ momentum
        # K = |L' v|^2 / 2, so that dK/dL = v (L' v)'
        by_factor = (v @ momentum.transpose(-1, -2)).flatten(-2) @ self.energy.entries.T
        potential = self.target_std.max().expand_as(by_factor[..., :1])
        weights = torch.cat([-by_factor, potential], dim=-1)
        return root * inertial.squeeze(-1) + self.energy.gradient(q, 1 / std, energy, weights)

    def predict_target(self, motion: Tensor) -> Tensor:
        """Return the target (..., n) of a motion (..., 3n)."""
        q, qd, qdd = motion.split(self.n, dim=-1)
        rotor, viscous, coulomb = (
            functional.softplus(self.get_parameter(name))
            for name in ("rotor", "viscous", "coulomb")
        )
        rotor_torque = (rotor + MIN_ROTOR_INERTIA) * self.inertia_scale * qdd
        velocity = qd / self.motion_std[self.n : 2 * self.n]
        direction = torch.tanh(qd / self.config.coulomb_velocity)
        friction = self.target_std * (viscous * velocity + coulomb * direction + self.offset)
        rigid = torch.exp(self.log_compliance) * self.lagrangian_torque(q, qd, qdd)
        return rigid + rotor_torque + friction

    def standardise(self, train: Windows) -> None:
        """Compute mean and standard deviation, and start from the mean target."""
        super().standardise(train)
        with torch.no_grad():
            self.offset.copy_(self.target_mean / self.target_std)

    def loss(self, motion: Tensor, time: Tensor, action: Tensor) -> Tensor:
        """Return the mean squared error in units of the target's variance.

        Args:
            motion: (B, T, 3n).
            time: (B, T) [s].
            action: (B, T, n).
        """
        error = self.predict_target(motion) - self.target(motion, action)
        return (error / self.target_std).square().mean()

    def forward(self, motion: Tensor, time: Tensor) -> Prediction:
        """Return the actions; there is no standard deviation."""
        return Prediction(self.action(motion, self.predict_target(motion)), None)
