"""Base parameters: the combinations of parameters that the torques depend on.

The columns of the regressor of an arm are linearly dependent. A maximal set of independent ones
is chosen in the order friction, first link, ..., last link; the parameters of the others are added
to theirs (Gautier, Khalil 1990, doi 10.1109/70.56655). Only these sums can be identified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from invdyn_ros.robots.rigid_body_dynamics import RigidBodyTree
from invdyn_ros.typing import Array

NUM_STATES = 200  # random ones, which show every combination
STATE_SCALE = (np.pi, 2.0, 5.0)  # [rad, rad/s, rad/s2]
# of the part of a column that is independent of others, relative to the largest column: rounding
# errors, also those of angles in a URDF, leave less, even of a mass on a vertical axis
TOLERANCE = 1e-5
MIN_FACTOR = 1e-6  # of a parameter in a combination
INERTIAL_NAMES = ("m", "mx", "my", "mz", "Ixx", "Ixy", "Ixz", "Iyy", "Iyz", "Izz")
FRICTION_NAMES = ("viscous", "coulomb", "offset", "rotor_inertia")


class BaseParameters(NamedTuple):
    """Linear map from the parameters (14 n,) = [inertia, friction] to the base parameters."""

    matrix: Array  # (base, 14 n)
    leading: Array  # (base,) index of the parameter that a base parameter is named after
    joint_names: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Names of the base parameters."""
        return [self.parameter_name(k) for k in self.leading]

    def parameter_name(self, index: int) -> str:
        """Return the name of a parameter, "JOINT TERM"."""
        n = len(self.joint_names)
        terms = INERTIAL_NAMES if index < 10 * n else FRICTION_NAMES
        joint, term = divmod(index if index < 10 * n else index - 10 * n, len(terms))
        return f"{self.joint_names[joint]} {terms[term]}"

    def combination(self, row: int) -> str:
        """Return the sum that a base parameter stands for, in words."""
        factors = self.matrix[row]
        others = [
            k for k in np.flatnonzero(np.abs(factors) > MIN_FACTOR) if k != self.leading[row]
        ]
        parts = [f"{factors[k]:+.4g} {self.parameter_name(int(k))}" for k in others]
        return " ".join([self.parameter_name(int(self.leading[row])), *parts])


class Estimate(NamedTuple):
    """Base parameters that data determine."""

    value: Array  # (base,)
    std: Array  # (base,) standard deviation; infinite: the data say nothing
    condition_number: float  # of the regression with columns of unit length


def find_base_parameters(tree: RigidBodyTree, joint_names: Sequence[str]) -> BaseParameters:
    """Return the base parameters of an arm with friction."""
    n = len(joint_names)
    random = np.random.default_rng(0)
    q, qd, qdd = (s * random.uniform(-1, 1, (NUM_STATES, n)) for s in STATE_SCALE)
    dtype, device = tree.inertial.dtype, tree.inertial.device
    parts = [torch.as_tensor(x, dtype=dtype, device=device) for x in (q, qd, qdd)]
    inertia = tree.regressor(*parts).double().cpu().numpy()  # (states, n, 10 n)
    terms = np.stack([qd, np.sign(qd), np.ones_like(qd), qdd], axis=-1)  # (states, n, 4)
    friction = np.einsum("tik,ij->tijk", terms, np.eye(n)).reshape(NUM_STATES, n, -1)
    Y = np.concatenate([inertia, friction], -1).reshape(NUM_STATES * n, -1)
    order = [*range(10 * n, Y.shape[1]), *range(10 * n)]
    independent = _independent_columns(Y, order)
    rest = [k for k in order if k not in set(independent)]
    matrix = np.zeros((len(independent), Y.shape[1]))
    matrix[np.arange(len(independent)), independent] = 1.0
    matrix[:, rest] = np.linalg.lstsq(Y[:, independent], Y[:, rest], rcond=None)[0]
    matrix[np.abs(matrix) < MIN_FACTOR] = 0.0
    return BaseParameters(matrix, np.array(independent), tuple(joint_names))


def _independent_columns(Y: Array, order: Sequence[int]) -> list[int]:
    """Return the columns of Y that are independent of those before them in an order."""
    basis, independent = np.empty((len(Y), 0)), []
    least = TOLERANCE * np.linalg.norm(Y, axis=0).max()
    for k in order:
        rest = Y[:, k] - basis @ (basis.T @ Y[:, k])
        rest -= basis @ (basis.T @ rest)  # again, against rounding errors
        length = np.linalg.norm(rest)
        if length > least:
            basis = np.column_stack([basis, rest / length])
            independent.append(k)
    return independent


def estimate(base: BaseParameters, information: Array, parameters: Array) -> Estimate:
    """Return the estimate that belongs to identified parameters.

    Args:
        base: the combinations.
        information: (14 n, 14 n) normal equations, weighted by the inverse variance of the noise.
        parameters: (14 n,) identified.
    """
    A = information[np.ix_(base.leading, base.leading)]
    diagonal = A.diagonal()
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    values, U = np.linalg.eigh(scale[:, None] * A * scale)
    floor = len(A) * np.finfo(float).eps * max(values[-1], np.finfo(float).tiny)
    variance = scale**2 * (U**2 / np.maximum(values, floor)).sum(1)
    std = np.where(diagonal > 0, np.sqrt(variance), np.inf)
    condition = np.sqrt(values[-1] / max(values[0], floor)) if values[-1] > 0 else np.inf
    return Estimate(base.matrix @ parameters, std, float(condition))


def correlation_times(residual: Array) -> Array:
    """Return how many successive residuals (T, n) of each joint count as a single one (n,).

    That is 1 + 2 times the sum of their autocorrelation, up to where it is not positive any more.
    """
    T = len(residual)
    centred = residual - residual.mean(0)
    spectrum = np.abs(np.fft.rfft(centred, 2 * T, axis=0)) ** 2
    covariance = np.fft.irfft(spectrum, axis=0)[:T]
    times = np.ones(residual.shape[1])
    for j, column in enumerate(covariance.T):
        if column[0] > 0:
            correlation = column / column[0]
            end = int(np.argmax(correlation <= 0)) or T
            times[j] = max(1.0, 1 + 2 * correlation[1:end].sum())
    return times
