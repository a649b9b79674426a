"""Check of the derivative of a model's action by the acceleration, which feedback goes through."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from invdyn_ros.data.windows import Windows
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.rigid_body import RigidBody
from invdyn_ros.training.reference_body import inertia

MAX_STATES = 500  # evenly spaced windows of the data


class InertiaCheck(NamedTuple):
    """Derivative J of the action by the acceleration over states of the data.

    With feedback through the model the errors obey M e'' = -J (gains), so that they grow where
    M^-1 J has an eigenvalue whose real part is not positive.

    Attributes:
        unstable_states: share of the states in which that is so.
        least_eigenvalue: of the symmetrised J, over all states [action unit s2/rad].
    """

    unstable_states: float
    least_eigenvalue: float


def check_inertia(model: InverseDynamics, data: Windows, body: RigidBody | None) -> InertiaCheck:
    """Return the check of a model.

    Args:
        model: the model.
        data: states to check.
        body: has the inertia M of the arm; None: unknown, and a state counts as unstable unless
            it is stable for every M, which is where the symmetrised J is positive definite.
    """
    J = acceleration_derivative(model, data)
    eigenvalues = torch.linalg.eigvalsh(0.5 * (J + J.mT))
    if body is None:
        unstable = eigenvalues[:, 0] <= 0
    else:
        unstable = _is_unstable(inertia(body, _positions(data, model.n)), J)
    return InertiaCheck(float(unstable.double().mean()), float(eigenvalues.min()))


def unstable_share(body: RigidBody, gain: Callable[[Tensor], Tensor], data: Windows) -> float:
    """Return the share of states in which feedback through a given inertia is unstable.

    Args:
        body: has the inertia of the arm.
        gain: returns the inertia (N, n, n) at positions (N, n) that the feedback goes through.
        data: states to check.
    """
    q = _positions(data, body.n)
    return float(_is_unstable(inertia(body, q), gain(q)).double().mean())


def acceleration_derivative(model: InverseDynamics, data: Windows) -> Tensor:
    """Return the derivative (N, n, n) of the last action by the acceleration.

    A change of the acceleration is the same in all frames of a window.
    """
    index = _evenly_spaced(data.size).to(data.motion.device)
    motion, time, _ = data.rows(index).to(data.motion.device, model.dtype)
    was_training = model.training
    model.eval()
    change = torch.zeros(len(motion), 1, model.n, dtype=model.dtype, device=motion.device)
    change.requires_grad_()
    with torch.enable_grad():
        q_qd, qdd = motion[..., : 2 * model.n], motion[..., 2 * model.n :]
        moved = torch.cat([q_qd, qdd + change], dim=-1)
        last = model.forward(moved, time).mean[:, -1]
        rows = [
            torch.autograd.grad(last[:, joint].sum(), change, retain_graph=True)[0][:, 0]
            for joint in range(model.n)
        ]
    model.train(was_training)
    return torch.stack(rows, dim=1).detach().cpu().double()


def _is_unstable(M: Tensor, J: Tensor) -> Tensor:
    """Return where (N,) M^-1 J of (N, n, n) has an eigenvalue without a positive real part."""
    return (torch.linalg.eigvals(torch.linalg.solve(M, J)).real <= 0).any(-1)


def _positions(data: Windows, n: int) -> Tensor:
    """Return evenly spaced positions (N, n) [rad] on the CPU."""
    index = _evenly_spaced(data.size).to(data.motion.device)
    return data.motion[index, -1, :n].cpu().double()


def _evenly_spaced(size: int) -> Tensor:
    return torch.linspace(0, size - 1, min(size, MAX_STATES)).long()
