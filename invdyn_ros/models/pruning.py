"""Pruning of dense networks by magnitude, and removal of neurons that pruning has cut off."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from invdyn_ros.models.dense_network import DenseNetwork, copy_network

Mask = tuple[Tensor, ...]
"""Which weights of each layer are kept, (units, inputs) bool."""


def magnitude_mask(network: DenseNetwork, sparsity: float, within: Mask | None = None) -> Mask:
    """Return the mask that removes the weights of least magnitude, over all layers together.

    Args:
        network: the network.
        sparsity: fraction of all weights to remove; exactly the nearest number is removed.
        within: mask whose removed weights remain so; None: none is removed yet.

    Raises:
        ValueError: the fraction is not in [0, 1], or less than `within` removes.
    """
    weights = [layer.weight.detach() for layer in network.layers]
    sizes = torch.cat([w.abs().flatten() for w in weights])
    if within is not None:
        sizes = sizes.masked_fill(~torch.cat([m.flatten() for m in within]), -1.0)
    count = round(sparsity * len(sizes))
    if not int((sizes < 0).sum()) <= count <= len(sizes):
        raise ValueError(
            f"sparsity is {sparsity}; it must be at least that of the mask before, at most 1"
        )
    keep = torch.ones(len(sizes), dtype=torch.bool)
    if count:
        limit = sizes.kthvalue(count).values
        keep = sizes >= limit
        ties = torch.nonzero(sizes == limit)[: count - int((~keep).sum())]
        keep[ties] = False
    return split_mask(keep, weights)


def random_mask(like: Mask, generator: torch.Generator) -> Mask:
    """Return a random mask that keeps as many weights of each layer as another."""
    masks = []
    for mask in like:
        order = torch.randperm(mask.numel(), generator=generator)
        masks.append(mask.flatten()[order].reshape(mask.shape))
    return tuple(masks)


def split_mask(keep: Tensor, weights: Sequence[Tensor]) -> Mask:
    """Return one mask per weight from the masks of all in one row."""
    parts = keep.split([w.numel() for w in weights])
    return tuple(part.reshape(w.shape) for part, w in zip(parts, weights, strict=True))


def sparsity_of(mask: Mask) -> float:
    """Return the fraction of the weights that a mask removes."""
    return 1 - sum(int(m.sum()) for m in mask) / sum(m.numel() for m in mask)


def prune(network: DenseNetwork, mask: Mask) -> DenseNetwork:
    """Return a network whose removed weights are zero."""
    layers = tuple(
        layer._replace(weight=layer.weight.detach() * keep)
        for layer, keep in zip(network.layers, mask, strict=True)
    )
    return network._replace(layers=layers)


def remove_dead_units(network: DenseNetwork) -> DenseNetwork:
    """Return a smaller network with the same predictions: units without links out are removed.

    A unit without links into it has a constant value, which is added to the biases of the next
    layer.

    Raises:
        ValueError: a layer is normalised, so that its units depend on each other.
    """
    layers = list(copy_network(network).layers)
    if any(layer.norm is not None for layer in layers):
        raise ValueError("units of a network with LayerNorm cannot be removed one by one")
    with torch.no_grad():
        for k in range(len(layers) - 1):  # constants move up
            layer, after = layers[k], layers[k + 1]
            constant = ~(layer.weight != 0).any(1)
            values = layer(torch.zeros(layer.weight.shape[1]))
            after.bias.add_(after.weight[:, constant] @ values[constant])
            after.weight[:, constant] = 0
        for k in range(len(layers) - 2, -1, -1):  # unused units are removed, from the last layer
            used = (layers[k + 1].weight != 0).any(0)
            layers[k + 1] = layers[k + 1]._replace(weight=layers[k + 1].weight[:, used])
            layers[k] = layers[k]._replace(
                weight=layers[k].weight[used], bias=layers[k].bias[used]
            )
    return network._replace(layers=tuple(layers))
