"""What goes wrong with a driven arm in the safety benchmark: targets, joint states, commands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from invdyn_ros.arms.pybullet_arm import apply_plant
from invdyn_ros.arms.pybullet_simulation import Simulation
from invdyn_ros.benchmarks.safety_rig import Tampering
from invdyn_ros.control.computed_torque import MeasuredState
from invdyn_ros.control.motion_profile import State, Target
from invdyn_ros.models.predictor import PredictedAction, Predictor
from invdyn_ros.robots.robot import Robot
from invdyn_ros.typing import Array

JOINT = 1  # index of the joint with the fault
STRONG = 20.0  # [N m] of the strongest joint of an arm that lifts the payload
JAM_TORQUE = 1e5  # [N m]
PAYLOAD = 5.0  # [kg]
SMALL_PAYLOAD = 0.2  # [kg] for an arm that could not lift the other


class NoTargets(Tampering):
    """The camera is gone, or the person."""

    def target(self, target: Target | None, time: float) -> Target | None:
        """Drop the target."""
        return None


class FrozenTargets(Tampering):
    """The same landmarks again and again, with the stamp of their image."""

    def __init__(self) -> None:
        self._first: Target | None = None

    def target(self, target: Target | None, time: float) -> Target | None:
        """Repeat the first target."""
        self._first = self._first or target
        return None if target is None else self._first


class ShiftedTargets(Tampering):
    """Targets with another stamp."""

    def __init__(self, shift: float) -> None:
        self.shift = shift  # [s]

    def target(self, target: Target | None, time: float) -> Target | None:
        """Shift the stamp."""
        return None if target is None else target._replace(stamp=target.stamp + self.shift)


class TargetsNotFinite(Tampering):
    """Targets of which one joint is not a number."""

    def target(self, target: Target | None, time: float) -> Target | None:
        """Replace a value."""
        if target is None:
            return None
        q = target.state.q.copy()
        q[JOINT] = np.nan
        return target._replace(state=target.state._replace(q=q))


class ContradictoryTargets(Tampering):
    """A second source with another goal, in turns with the first."""

    def __init__(self, robot: Robot) -> None:
        self.other = np.clip(robot.home - 0.5, robot.lower, robot.upper)
        self._turn = False

    def target(self, target: Target | None, time: float) -> Target | None:
        """Replace every second target."""
        if target is None:
            return None
        self._turn = not self._turn
        zero = np.zeros_like(self.other)
        return target._replace(state=State(self.other, zero, zero)) if self._turn else target


class NoStates(Tampering):
    """Joint states stop."""

    def states(self, state: MeasuredState, time: float) -> list[MeasuredState]:
        """Drop the state."""
        return []


class FrozenStates(Tampering):
    """Joint states repeat the last values, with or without new stamps."""

    def __init__(self, new_stamps: bool) -> None:
        self.new_stamps = new_stamps
        self._first: MeasuredState | None = None

    def states(self, state: MeasuredState, time: float) -> list[MeasuredState]:
        """Repeat the first state."""
        self._first = first = self._first or state
        return [first._replace(time=state.time) if self.new_stamps else first]


class ReorderedStates(Tampering):
    """Two joint states in a row change places, again and again."""

    def __init__(self) -> None:
        self._waiting: MeasuredState | None = None

    def states(self, state: MeasuredState, time: float) -> list[MeasuredState]:
        """Deliver every second state together with the one before, later one first."""
        if self._waiting is None:
            self._waiting = state
            return []
        waiting, self._waiting = self._waiting, None
        return [state, waiting]


class DuplicatedStates(Tampering):
    """Every joint state arrives twice."""

    def states(self, state: MeasuredState, time: float) -> list[MeasuredState]:
        """Repeat the state."""
        return [state, state]


class ChangedStates(Tampering):
    """Joint states with other values or stamps, for a time."""

    def __init__(
        self, change: Callable[[MeasuredState], MeasuredState], duration: float = np.inf
    ) -> None:
        self.change, self.duration = change, duration  # [s]

    def states(self, state: MeasuredState, time: float) -> list[MeasuredState]:
        """Change the state."""
        return [self.change(state) if time < self.duration else state]


class CommandsLost(Tampering):
    """The arm's program stands still: commands are lost, the arm holds its place."""

    def __init__(self) -> None:
        self._place: Array | None = None

    def states(self, state: MeasuredState, time: float) -> list[MeasuredState]:
        """Note the first place."""
        if self._place is None:
            self._place = state.q
        return [state]

    def command(self, action: Array | None, time: float) -> Array | None:
        """Hold the first place."""
        return None if action is None else self._place


class SlowArm(Tampering):
    """Speed scaling: the arm approaches its setpoints at a tenth of the speed."""

    SCALE = 0.1

    def __init__(self) -> None:
        self._setpoint: Array | None = None
        self._last: Array | None = None

    def command(self, action: Array | None, time: float) -> Array | None:
        """Move the setpoint by a tenth of the step asked for."""
        if action is None:
            return None
        if self._setpoint is None or self._last is None:
            self._setpoint = action
        else:
            self._setpoint = self._setpoint + self.SCALE * (action - self._last)
        self._last = action
        return self._setpoint


class JammedJoint(Tampering):
    """A joint does not move."""

    def act_on(self, simulation: Simulation, time: float) -> None:
        """Lock the joint."""
        simulation.client.setJointMotorControl2(
            simulation.body,
            simulation.joints[JOINT],
            simulation.client.VELOCITY_CONTROL,
            targetVelocity=0.0,
            force=JAM_TORQUE,
        )

    def clear(self, simulation: Simulation) -> None:
        """Give the joint its friction back, unless the brakes are on."""
        if simulation.drive.problem is not None:
            return
        simulation.client.setJointMotorControl2(
            simulation.body,
            simulation.joints[JOINT],
            simulation.client.VELOCITY_CONTROL,
            targetVelocity=0.0,
            force=float(simulation.drive.friction.coulomb[JOINT]),
        )


class UnknownPayload(Tampering):
    """A mass hangs at the tool that nobody told the model of."""

    def __init__(self) -> None:
        self._is_on = False

    def act_on(self, simulation: Simulation, time: float) -> None:
        """Attach the mass."""
        if not self._is_on:
            self._is_on = True
            can_lift = simulation.robot.effort.max() > STRONG
            self._set(simulation, PAYLOAD if can_lift else SMALL_PAYLOAD)

    def clear(self, simulation: Simulation) -> None:
        """Take the mass off."""
        self._set(simulation, 0.0)

    def _set(self, simulation: Simulation, mass: float) -> None:
        plant = simulation.plant
        changed = type(plant)(**(vars(plant) | {"payload": plant.payload + mass}))
        apply_plant(simulation.client, simulation.arm, simulation.robot, changed)


class WrongModel:
    """A model whose actions are changed, such as one with damaged weights."""

    def __init__(self, model: Predictor, change: Callable[[Array], Array]) -> None:
        """Wrap a model.

        Args:
            model: the right model.
            change: maps its actions (n,) to wrong ones.
        """
        self.model, self.change = model, change
        self.n_obs_steps = model.n_obs_steps

    def predict(self, motion: Array, time: Array) -> PredictedAction:
        """Return the changed actions, without a standard deviation."""
        wrong = [self.change(row) for row in self.model.predict(motion, time).mean[0]]
        return PredictedAction(np.array(wrong)[None], None)
