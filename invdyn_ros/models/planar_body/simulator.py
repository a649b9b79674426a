"""Simulator of planar bodies with joint limits, a floor and capsules that collide.

Steps are MuJoCo's: semi-implicit Euler with implicit damping, q' = q + h v' and

    (M + h damping) (v' - v) / h = all forces at q, v.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.models.planar_body.contact_geometry import ContactGeometry
from invdyn_ros.models.planar_body.contact_solver import ContactConstraints, solve_contacts
from invdyn_ros.models.planar_body.dynamics import KinematicTree, rigid_body_terms
from invdyn_ros.models.planar_body.parameters import BodyParameters

BACKWARD_STEP_ITERATIONS = 12  # of Newton's method
CONVERGENCE_TOLERANCE = 1e-9  # [m/s] residual at which Newton's method ends
MAX_RESIDUAL = 1e-6  # [m/s] residual up to which its result is accepted


class Forces(NamedTuple):
    """Mass matrix and forces of N bodies."""

    mass_matrix: Tensor  # (N, n, n)
    qfrc: Tensor  # (N, n)
    qfrc_vel: Tensor  # (N, n, n) derivative of the forces with respect to velocity


class PlanarBody:
    """Simulator of a kinematic tree with capsules; parameters are arguments of its methods."""

    def __init__(
        self, tree: KinematicTree, capsule_links: tuple[int, ...], self_collision: bool = True
    ) -> None:
        """Create the simulator of a body.

        Args:
            tree: topology.
            capsule_links: link of each capsule.
            self_collision: whether links collide with each other, except parent and child.
        """
        self.angle_matrix = tree.angle_matrix()
        self.contact_geometry = ContactGeometry(tree, capsule_links, self_collision)

    def step(
        self, parameters: BodyParameters, q: Tensor, v: Tensor, h: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return q and v (N, n) one step later.

        Args:
            parameters: of the body.
            q: (N, n) positions.
            v: (N, n) velocities.
            h: (N, 1) length of the step [s].
        """
        mass_matrix, qfrc, _ = self.forces(parameters, q, v)
        v_next = v + h * torch.linalg.solve(
            self._damped_mass_matrix(parameters, mass_matrix, h), qfrc
        )
        return q + h * v_next, v_next

    def step_backward(
        self, parameters: BodyParameters, q: Tensor, v: Tensor, h: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return q and v (N, n) one step earlier, by Newton's method; v is NaN if it fails.

        Args:
            parameters: of the body.
            q: (N, n) positions.
            v: (N, n) velocities.
            h: (N, 1) length of the step [s].
        """
        q_previous = q - h * v
        best = v.clone()
        best_residual = torch.full_like(h[:, 0], torch.inf)
        index, v_previous = torch.arange(len(v)), v
        for _ in range(BACKWARD_STEP_ITERATIONS):
            mass_matrix, qfrc, qfrc_vel = self.forces(parameters, q_previous[index], v_previous)
            damped = self._damped_mass_matrix(parameters, mass_matrix, h[index])
            residual = v_previous + h[index] * torch.linalg.solve(damped, qfrc) - v[index]
            size = residual.abs().amax(1)
            better = size < best_residual[index]
            best[index[better]], best_residual[index[better]] = v_previous[better], size[better]
            active = size > CONVERGENCE_TOLERANCE
            if not bool(active.any()):
                break
            index, v_previous, residual = index[active], v_previous[active], residual[active]
            jacobian = h[index, :, None] * torch.linalg.solve(damped[active], qfrc_vel[active])
            v_previous = v_previous - torch.linalg.solve(
                torch.eye(v.shape[1], dtype=v.dtype) + jacobian, residual
            )
        return q_previous, torch.where(best_residual[:, None] < MAX_RESIDUAL, best, torch.nan)

    def forces(self, parameters: BodyParameters, q: Tensor, v: Tensor) -> Forces:
        """Return the sum of all forces: gravity, bias, damping, limits and contacts.

        Args:
            parameters: of the body.
            q: (N, n) positions.
            v: (N, n) velocities.
        """
        mass_matrix, qfrc_bias, qfrc_bias_vel = rigid_body_terms(
            parameters.inertia, self.angle_matrix, q, v
        )
        damping = self._damping(parameters)
        qfrc, qfrc_vel = -qfrc_bias - damping * v, -damping.diag() - qfrc_bias_vel
        constraints, contact = self.contact_geometry.constraints(parameters, q, v)
        if not len(contact):
            return Forces(mass_matrix, qfrc, qfrc_vel)
        mass, qfrc_smooth = mass_matrix[contact], qfrc[contact]
        qacc_smooth = torch.linalg.solve(mass, qfrc_smooth)
        active = solve_contacts(
            mass.detach(),
            qacc_smooth.detach(),
            ContactConstraints(*(x.detach() for x in constraints)),
        )
        weighted = (
            constraints.jacobian * (constraints.inverse_regularization * active)[..., None]
        )  # (N, R, n)
        reference = (weighted * constraints.aref[..., None]).sum(1)
        hessian = mass + constraints.jacobian.transpose(1, 2) @ weighted
        qacc = torch.linalg.solve(hessian, qfrc_smooth + reference)
        contact_damping = weighted.transpose(1, 2) @ (
            constraints.jacobian * constraints.damping[..., None]
        )
        contact_vel = mass @ torch.linalg.solve(hessian, qfrc_vel[contact] - contact_damping)
        return Forces(
            mass_matrix,
            qfrc.index_put((contact,), (mass @ qacc[..., None]).squeeze(2)),
            qfrc_vel.index_put((contact,), contact_vel),
        )

    def _damping(self, parameters: BodyParameters) -> Tensor:
        return torch.nn.functional.pad(parameters.inertia.damping, (2, 0))

    def _damped_mass_matrix(
        self, parameters: BodyParameters, mass_matrix: Tensor, h: Tensor
    ) -> Tensor:
        return mass_matrix + (h * self._damping(parameters)).diag_embed()
