"""Energy of a chain of joints, learned with the dependence on the positions that a chain has.

In a chain of turning joints all positions and directions are sums of products with one factor
a + b sin q + c cos q for each joint. The inertia that joint i feels depends on the joints after it
only. A network of such products, one factor for each joint and unit,

    f_j = a_j + b_j sin q_j + c_j cos q_j,    p_i = f_{i+1} f_{i+2} ... f_n    (width,)

therefore contains the energy of every chain: column i of the factor A of the inertia M = A' A is
linear in p_i, and the potential energy in p_0, the product of all factors. A prismatic joint has
its standardised position in place of the sine, and no cosine.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

INITIAL_SPREAD = 0.5  # of the factors of each joint
INITIAL_FACTOR = 0.3  # of an entry of A, in units of the inertia that the data suggest


class ChainState(NamedTuple):
    """Products of N states, and what their derivatives need; joints from base to tip."""

    factors: tuple[Tensor, ...]  # f of each joint, (1, N, width)
    slopes: Tensor  # (n, N, width) df/dq
    products: list[Tensor]  # p of each joint, (1, N, width)
    columns: Tensor  # (n, N, rows) of A
    column_rates: Tensor  # (n, N, rows) dA/dt


class ChainEnergy(nn.Module):
    """Kinetic and potential energy of a chain of joints.

    Derivatives are written out: they are exported like any other operation, and cost one pass.
    """

    is_prismatic: Tensor  # (n, 1, 1)

    def __init__(self, turning: Tensor, width: int, rows: int) -> None:
        """Build the network with random weights.

        Args:
            turning: (n,) whether the joint is no prismatic one, so that a whole turn changes
                nothing.
            width: number of products.
            rows: of the factor A of the inertia.
        """
        super().__init__()
        n = len(turning)
        self.register_buffer("is_prismatic", ~turning[:, None, None], persistent=False)
        self.has_prismatic = not bool(turning.all())
        self.constant = nn.Parameter(torch.ones(n, 1, width))
        self.sine = nn.Parameter(INITIAL_SPREAD * torch.randn(n, 1, width))
        self.cosine = nn.Parameter(INITIAL_SPREAD * torch.randn(n, 1, width))
        self.inertia = nn.Parameter(INITIAL_FACTOR / width**0.5 * torch.randn(n, width, rows))
        self.potential = nn.Parameter(torch.zeros(width))

    def forward(self, q: Tensor, scaled_q: Tensor, scale: Tensor, rate: Tensor) -> ChainState:
        """Return the products of N states.

        Args:
            q: (n, N, 1) positions [rad].
            scaled_q: (n, N, 1) standardised positions.
            scale: (n, 1, 1) change of the standardised position per position.
            rate: (n, N, 1) velocities [rad/s].
        """
        x, y = torch.sin(q), torch.cos(q)
        dx, dy = y, -x
        if self.has_prismatic:
            where, zero = torch.where, torch.zeros_like(q)
            x, y = where(self.is_prismatic, scaled_q, x), where(self.is_prismatic, zero, y)
            dx, dy = where(self.is_prismatic, scale, dx), where(self.is_prismatic, zero, dy)
        slopes = self.sine * dx + self.cosine * dy
        # split and cat instead of unbind and stack: fewer operations in an exported model
        factors = (self.constant + self.sine * x + self.cosine * y).split(1)
        changes = (slopes * rate).split(1)
        products, rates = [torch.ones_like(factors[0])], [torch.zeros_like(factors[0])]
        for factor, change in zip(factors[:0:-1], changes[:0:-1], strict=True):
            rates.append(change * products[-1] + factor * rates[-1])
            products.append(factor * products[-1])
        products.reverse()
        rates.reverse()
        columns, column_rates = (torch.cat(part) @ self.inertia for part in (products, rates))
        return ChainState(factors, slopes, products, columns, column_rates)

    def gradient(self, state: ChainState, v: Tensor, momentum: Tensor, height: Tensor) -> Tensor:
        """Return the gradient (n, N) of the potential less the kinetic energy by the positions.

        Args:
            state: at the positions.
            v: (n, N, 1) scaled velocities.
            momentum: (N, rows) A v.
            height: unit of the potential energy.
        """
        by_product = v * (momentum @ self.inertia.transpose(-1, -2))  # of the kinetic energy
        weight, by_factor = height * self.potential, []
        for factor, product, kinetic in zip(
            state.factors, state.products, by_product.split(1), strict=True
        ):
            by_factor.append(product * weight)
            weight = factor * weight - kinetic
        return (torch.cat(by_factor) * state.slopes).sum(-1)
