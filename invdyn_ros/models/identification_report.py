"""Report of an identification: base parameters with intervals, links and friction."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from invdyn_ros.models.base_parameters import (
    BaseParameters,
    Estimate,
    correlation_times,
    estimate,
    find_base_parameters,
)
from invdyn_ros.models.least_squares_identification import DynamicParameters, NormalEquations
from invdyn_ros.models.parameter_identification import Bounds, prior_coordinates, total_equations
from invdyn_ros.models.physical_parameters import pseudo_inertias
from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.typing import Array, Mask

Z95 = 1.96  # standard deviations of a 95% interval


class Residual(NamedTuple):
    """Errors of a fit, in the order of time."""

    error: Tensor  # (T, n)
    weight: Tensor  # (T, n) of each row in the fit

    def noise(self, num_parameters: int) -> tuple[Array, Array]:
        """Return the variance (n,) of an error, and how many successive ones count as one (n,).

        Args:
            num_parameters: of the fit, for its degrees of freedom.
        """
        w = self.weight.double().cpu().numpy()
        error = self.error.double().cpu().numpy() * w
        total = (w**2).sum(0)
        freedom = np.maximum(total - num_parameters / w.shape[1], 0.1 * total)
        return (error**2).sum(0) / freedom, correlation_times(error)


def identification_report(
    tree: RigidBodyTree,
    joint_names: tuple[str, ...],
    equations: NormalEquations,
    parameters: DynamicParameters,
    residual: Residual,
    prior: Tensor,
) -> dict[str, Any]:
    """Return the report of an identification from torques.

    The standard deviations are those of least squares without bounds, for noise that is as
    correlated in time as the residual.

    Args:
        tree: the arm.
        joint_names: of the arm.
        equations: normal equations of the data that they were identified from.
        parameters: what was identified.
        residual: errors of these parameters.
        prior: inertial parameters of the URDF (10 n,).
    """
    base = find_base_parameters(tree, joint_names)
    variance, times = residual.noise(len(base.leading))
    floor = 1e-12 * equations.target_power.double().cpu().numpy() / equations.num_rows
    weights = torch.from_numpy(1 / np.maximum(variance * times, np.maximum(floor, 1e-30)))
    H, _ = total_equations(equations, parameters.compliance, weights.to(parameters.inertial))
    z = torch.cat([parameters.inertial, parameters.friction.flatten()]).double().cpu().numpy()
    result = estimate(base, H.double().cpu().numpy(), z)
    coordinates = prior_coordinates(equations, prior, Bounds(is_torque=True))
    prior_std = np.linalg.norm(base.matrix @ coordinates.T, axis=1)
    urdf = base.matrix @ np.concatenate(
        [prior.double().cpu().numpy(), np.zeros(parameters.friction.numel())]
    )
    return {
        "condition_number": result.condition_number,
        "noise_std": np.sqrt(variance).tolist(),
        "correlated_samples": times.tolist(),
        "base_parameters": _base_parameters(base, result, urdf, result.std < prior_std),
        "links": _links(parameters, joint_names),
    }


def _base_parameters(
    base: BaseParameters, result: Estimate, urdf: Array, identified: Mask
) -> list[dict[str, Any]]:
    """Return name, value and interval of each base parameter.

    Args:
        base: the combinations.
        result: their estimate.
        urdf: (base,) values of the URDF.
        identified: (base,) whether the motion determines it.
    """
    rows = zip(base.names, result.value, result.std, urdf, identified, strict=True)
    return [
        {
            "name": name,
            "combination": base.combination(k),
            "value": float(value),
            "std": _finite(std),
            "ci95": [_finite(value - Z95 * std), _finite(value + Z95 * std)],
            "urdf": float(nominal),
            "identified": bool(is_identified),
        }
        for k, (name, value, std, nominal, is_identified) in enumerate(rows)
    ]


def _links(parameters: DynamicParameters, joint_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return mass, centre of mass and least eigenvalue of the pseudo-inertia of each link."""
    inertial = parameters.inertial.view(-1, 10).double().cpu().numpy()
    eigenvalues = np.linalg.eigvalsh(pseudo_inertias(inertial))[:, 0]
    rows = zip(joint_names, inertial, eigenvalues, strict=True)
    return [
        {
            "joint": name,
            "mass": float(row[0]),
            "center_of_mass": (row[1:4] / row[0]).tolist(),
            "min_eigenvalue": float(value),
        }
        for name, row, value in rows
    ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
