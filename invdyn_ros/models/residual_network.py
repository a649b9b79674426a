"""Identified rigid body with a small network on its residual, trained by gradient descent.

The network gets positions and velocities but no accelerations: the derivative of the action by the
acceleration is that of the rigid body, whatever the network learns.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from invdyn_ros.data.windows import Windows
from invdyn_ros.models.model_metadata import ModelMetadata
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.models.rigid_body_config import ResidualNetworkConfig, residual_network_sizes

MIN_SCALE = 1e-6  # of the residual, in standard deviations of the target


class ResidualNetwork(RigidBody):
    """Rigid body, friction and a network of positions and velocities, for each frame; causal.

    The last layer starts at zero, so that training starts from the rigid body.
    """

    Config = ResidualNetworkConfig
    identifies_lag = False  # the loss has no filter
    config: ResidualNetworkConfig  # type: ignore[assignment]
    residual_std: Tensor  # (n,) standard deviation of what the rigid body leaves

    def __init__(self, meta: ModelMetadata) -> None:
        """Create the rigid body of the URDF in `meta`, and a network with random weights."""
        super().__init__(meta)
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(residual_network_sizes(self.n, self.config)):
            layers += [nn.Linear(width_in, width_out), nn.Tanh()]
        self.net = nn.Sequential(*layers[:-1]).to(self.dtype)
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("residual_std", torch.ones(self.n, dtype=self.dtype))

    def fit(self, train: Windows, val: Windows) -> bool:
        """Identify the rigid body and the scale of its residual; the network is trained after."""
        super().fit(train, val)
        rigid_body = self.rigid_body_target(train.motion)
        residual = (self.target(train.motion, train.action) - rigid_body).flatten(0, 1)
        self.residual_std.copy_(torch.maximum(residual.std(0), MIN_SCALE * self.target_std))
        return False

    def residual(self, motion: Tensor) -> Tensor:
        """Return what the network adds to the target (..., n) of a motion (..., 3n)."""
        q, qd, _ = motion.split(self.n, dim=-1)
        velocity = qd / self.motion_std[self.n : 2 * self.n]
        direction = torch.tanh(qd / self.config.coulomb_velocity)
        features = torch.cat([torch.sin(q), torch.cos(q), velocity, direction], dim=-1)
        return self.residual_std * self.net(features)

    def predict_target(self, motion: Tensor) -> Tensor:
        """Return the target (..., n) of a motion (..., 3n)."""
        return self.rigid_body_target(motion) + self.residual(motion)
