"""Dense networks layer by layer, with their inputs and outputs in SI units, to draw or prune."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from invdyn_ros.models.enhanced import Enhanced
from invdyn_ros.models.ensemble import Ensemble
from invdyn_ros.models.inverse_dynamics import InverseDynamics
from invdyn_ros.models.mlp import MLP
from invdyn_ros.models.neural_network import NeuralNetwork

INPUT_RANGE = 3.0  # standard deviations on each side of the mean
QUANTITIES = (("q", "rad"), ("qd", "rad/s"), ("qdd", "rad/s2"))
ACTIVATION_NAMES: dict[type[nn.Module], str] = {
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.SiLU: "silu",
    nn.GELU: "gelu",
    nn.Sigmoid: "sigmoid",
}
ACTIVATION_FUNCTIONS = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}


class NetworkInput(NamedTuple):
    """An input of a network, with the range of its training data."""

    name: str
    unit: str
    low: float
    high: float
    initial: float


class Feature(NamedTuple):
    """A value of the first layer: function((input - offset) / scale)."""

    input: int  # index of the input
    function: Literal["identity", "sin", "cos", "tanh"] = "identity"
    offset: float = 0.0
    scale: float = 1.0


class NetworkOutput(NamedTuple):
    """An output: value of the last layer * scale + offset + an input, if there is one to add."""

    name: str
    unit: str
    offset: float = 0.0
    scale: float = 1.0
    added_input: int | None = None


class DenseLayer(NamedTuple):
    """activation(normalise(weight x + bias)); the tensors are those of the model, not copies."""

    name: str
    weight: Tensor  # (units, inputs)
    bias: Tensor  # (units,)
    activation: str
    norm: nn.LayerNorm | None = None

    def __call__(self, values: Tensor) -> Tensor:
        """Return the values (..., units) of a layer for those of the previous one."""
        result = functional.linear(values, self.weight, self.bias)
        result = result if self.norm is None else self.norm(result)
        activated: Tensor = ACTIVATION_FUNCTIONS[self.activation](result)  # type: ignore[operator]
        return activated

    @property
    def parameters(self) -> list[Tensor]:
        """Weight and bias, then those of the normalisation."""
        return [self.weight, self.bias] + (
            [] if self.norm is None else [self.norm.weight, self.norm.bias]
        )


class DenseNetwork(NamedTuple):
    """A plain stack of dense layers."""

    inputs: tuple[NetworkInput, ...]
    features: tuple[Feature, ...]
    layers: tuple[DenseLayer, ...]
    outputs: tuple[NetworkOutput, ...]

    def first_values(self, inputs: Tensor) -> Tensor:
        """Return the features (..., F) of inputs in SI units."""
        columns = []
        for feature in self.features:
            value = (inputs[..., feature.input] - feature.offset) / feature.scale
            name = feature.function
            columns.append(value if name == "identity" else getattr(torch, name)(value))
        return torch.stack(columns, dim=-1)

    def values(self, inputs: Tensor) -> list[Tensor]:
        """Return the features and the values of each layer for inputs (..., I) in SI units."""
        values = [self.first_values(inputs)]
        for layer in self.layers:
            values.append(layer(values[-1]))
        return values

    def predict(self, inputs: Tensor) -> Tensor:
        """Return the outputs (..., O) in SI units for inputs (..., I) in SI units."""
        last = self.values(inputs)[-1]
        columns = []
        for k, output in enumerate(self.outputs):
            column = last[..., k] * output.scale + output.offset
            added = output.added_input
            columns.append(column if added is None else column + inputs[..., added])
        return torch.stack(columns, dim=-1)


def copy_network(network: DenseNetwork) -> DenseNetwork:
    """Return a network with weights and biases of its own, without gradients."""
    layers = tuple(
        layer._replace(weight=layer.weight.detach().clone(), bias=layer.bias.detach().clone())
        for layer in network.layers
    )
    return network._replace(layers=layers)


def dense_network(model: InverseDynamics) -> DenseNetwork:
    """Return the stack of dense layers of a model; of an ensemble, its first member's.

    Raises:
        ValueError: the family has no such stack.
    """
    member = model.members[0] if isinstance(model, Ensemble) else model
    if isinstance(member, MLP):
        return _network(member, stack_layers(member.net), 1)
    if isinstance(member, Enhanced) and member.base is None:
        layers = stack_layers([*member.net, member.head])
        return _network(member, layers, member.config.n_obs_steps)
    raise ValueError(
        f"family {model.meta.family} is not a plain stack of layers; the network of mlp, of "
        "enhanced without base and of an ensemble of these can be drawn"
    )


def stack_layers(modules: Iterable[nn.Module]) -> tuple[DenseLayer, ...]:
    """Return the dense layers of modules that are called one after the other.

    Raises:
        ValueError: a module is neither a layer nor a normalisation nor a known activation.
    """
    layers: list[DenseLayer] = []
    for module in modules:
        if isinstance(module, nn.Linear):
            name = f"layer {len(layers) + 1}"
            layers.append(DenseLayer(name, module.weight, module.bias, "linear"))
        elif isinstance(module, nn.LayerNorm):
            layers[-1] = layers[-1]._replace(norm=module)
        elif type(module) in ACTIVATION_NAMES:
            layers[-1] = layers[-1]._replace(activation=ACTIVATION_NAMES[type(module)])
        elif not isinstance(module, (nn.Dropout, nn.Identity)):
            raise ValueError(f"{type(module).__name__} is no part of a dense network")
    return tuple(layers)


def _network(model: NeuralNetwork, layers: Sequence[DenseLayer], n_obs_steps: int) -> DenseNetwork:
    """Describe the inputs and outputs of a network of one or several frames, oldest first."""
    n, joints = model.n, model.meta.joint_names
    mean, std = model.motion_mean.tolist(), model.motion_std.tolist()
    inputs: list[NetworkInput] = []
    features: list[Feature] = []
    for age in reversed(range(n_obs_steps)):
        start = len(inputs)
        for k in range(3 * n):
            quantity, unit = QUANTITIES[k // n]
            name = f"{quantity} {joints[k % n]}" + (f", {age} before" if age else "")
            reach = INPUT_RANGE * std[k]
            inputs.append(NetworkInput(name, unit, mean[k] - reach, mean[k] + reach, mean[k]))
        features += _frame_features(model, start)
    for age in reversed(range(n_obs_steps - 1)):
        features.append(Feature(len(inputs)))
        name = f"interval deviation {age}" if age else "interval deviation"
        inputs.append(NetworkInput(name, "", -1.0, 1.0, 0.0))
    unit = model.meta.action_unit
    latest = 3 * n * (n_obs_steps - 1)
    outputs = [
        NetworkOutput(
            joint, unit, float(offset), float(scale), latest + k if unit == "rad" else None
        )
        for k, (joint, offset, scale) in enumerate(
            zip(joints, model.target_mean, model.target_std, strict=True)
        )
    ]
    return DenseNetwork(tuple(inputs), tuple(features), tuple(layers), tuple(outputs))


def _frame_features(model: NeuralNetwork, start: int) -> list[Feature]:
    """Return the `NeuralNetwork.features` of a frame whose inputs begin at `start`."""
    n, config = model.n, model.config
    mean, std = model.motion_mean.tolist(), model.motion_std.tolist()
    first = n if config.periodic else 0
    features = [Feature(start + k, "identity", mean[k], std[k]) for k in range(first, 3 * n)]
    if config.angles:
        features += [Feature(start + k, "sin") for k in range(n)]
        features += [Feature(start + k, "cos") for k in range(n)]
    if config.coulomb_velocity > 0:
        scale = config.coulomb_velocity
        features += [Feature(start + n + k, "tanh", 0.0, scale) for k in range(n)]
    return features
