"""Runs of the fault table of the safety benchmark, on every shipped arm in simulation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from invdyn_ros.benchmarks.safety_faults import FAULT_TABLE, FaultRow
from invdyn_ros.benchmarks.safety_rig import (
    START_TIME,
    TARGET_RATE,
    DrivenArm,
    Sample,
    Setup,
    load_setup,
    wave,
)
from invdyn_ros.benchmarks.safety_tampering import WrongModel
from invdyn_ros.control.motion_profile import Target
from invdyn_ros.typing import Array

ONSET, CLEARED, ENGAGED, END = (START_TIME + t for t in (2.0, 2.8, 3.2, 4.7))
WAVE_SIZE, WAVE_FREQUENCY = 0.12, 0.5  # [rad], [Hz]; fastest at the onset
MAX_FIRST_COMMAND = 0.02  # [rad]
MOVED = 0.02  # [rad] of travel that shows that an arm follows again
PLAN_MOVED = 0.01  # [rad] of planned travel without which a fault need not show
STILL = 0.01  # [rad] of travel of an arm that stands


class FaultRun(NamedTuple):
    """Result of one fault on one arm.

    Attributes:
        setup: name of the checkpoint.
        fault: key of the fault table.
        reason: what was named, None if nothing was.
        detection: time until it was named [s], from the onset or, of a fault that is there from
            the start, from the first planned motion; NaN if nothing was.
        excursion: distance of a joint from its plan, and from its place at the onset, whichever is
            smaller, and its travel after the detection [rad].
        first_command: distance of the first setpoint after engaging from the arm [rad]; NaN for
            torques.
        peak_speed: largest speed as a fraction of the rated one [-].
        contacts: control steps with a contact.
        latched: whether the arm stayed stopped until engaged.
        recovered: whether it followed again, by itself or engaged.
        problems: what was not as stated, in words.
    """

    setup: str
    fault: str
    reason: str | None
    detection: float
    excursion: float
    first_command: float
    peak_speed: float
    contacts: int
    latched: bool
    recovered: bool
    problems: tuple[str, ...]


def run_faults(job: tuple[Setup, tuple[str, ...]]) -> list[FaultRun]:
    """Run some faults on one arm.

    Args:
        job: the arm, and keys of the fault table; those for other units are left out.
    """
    setup, faults = job
    _, _, unit, _ = load_setup(setup)
    return [_run(setup, fault) for fault in faults if unit in FAULT_TABLE[fault].units]


class _Breaking:
    """Replaces the actions of a model while it is on."""

    def __init__(self, row: FaultRow) -> None:
        self.row, self.on = row, False

    def __call__(self, action: Array) -> Array:
        return self.row.broken(action) if self.on and self.row.broken else action


class _Recording(NamedTuple):
    """Run of a fault: arrays of T ticks.

    Attributes:
        row: of the fault table.
        onset: start of the fault [s].
        samples: all ticks.
        time: (T,) [s].
        q: (T, n) true positions [rad].
        nominal: (T, n) positions of the targets [rad].
        is_servo: whether actions are setpoints.
    """

    row: FaultRow
    onset: float
    samples: list[Sample]
    time: Array
    q: Array
    nominal: Array
    is_servo: bool


def _run(setup: Setup, fault: str) -> FaultRun:
    """Run one fault on one arm."""
    row = FAULT_TABLE[fault]
    onset, breaking = START_TIME if row.from_start else ONSET, _Breaking(row)
    model = None if row.broken is None else WrongModel(load_setup(setup)[1], breaking)
    with DrivenArm(setup, model=model) as arm:
        tampering, engaged = row.make(arm.robot), not row.latched
        nominal = []
        while arm.time < END:
            now = arm.time
            breaking.on = active = onset <= now < CLEARED
            if CLEARED <= now < CLEARED + 1 / arm.robot.rate:
                tampering.clear(arm.simulation)
            if not engaged and now >= ENGAGED and arm.camera_due:
                engaged = arm.controller.engage(True) is None
            state = wave(arm.robot, now + 1 / TARGET_RATE, WAVE_SIZE, WAVE_FREQUENCY)
            target = Target(now, state, 1 / TARGET_RATE) if arm.camera_due else None
            nominal.append(wave(arm.robot, now, WAVE_SIZE, WAVE_FREQUENCY).q)
            arm.step(target, tampering if active else None, now - onset)
        samples = arm.samples
        recording = _Recording(
            row,
            onset,
            samples,
            np.array([sample.time for sample in samples]),
            np.array([sample.q for sample in samples]),
            np.array(nominal),
            arm.simulation.unit == "rad",
        )
        peak = max(float(np.abs(s.qd / arm.robot.velocity).max()) for s in samples)
        contacts = arm.simulation.contact_ticks
    return _judge(setup.checkpoint, fault, recording, peak, contacts)


def _judge(setup: str, fault: str, run: _Recording, peak: float, contacts: int) -> FaultRun:
    """Measure a run and compare it with its row of the table.

    Args:
        setup: name of the checkpoint.
        fault: key of the fault table.
        run: the recording.
        peak: largest speed as a fraction of the rated one.
        contacts: control steps with a contact.
    """
    time, q, row = run.time, run.q, run.row
    reason, detected = _detection(run)
    between = (time >= CLEARED + 0.2) & (time < ENGAGED)
    stood = np.ptp(q[between], axis=0).max() < STILL
    latched = all(s.fault for s in run.samples if CLEARED <= s.time < ENGAGED) and stood
    recovered = np.ptp(q[time >= END - 1.2], axis=0).max() > MOVED and not run.samples[-1].fault
    result = FaultRun(
        setup,
        fault,
        reason,
        float(np.maximum(detected - _first_sign(run), 0.0)),
        _excursion(run, detected),
        _first_command(run) if run.is_servo and latched else float("nan"),
        peak,
        contacts,
        bool(latched),
        bool(recovered),
        (),
    )
    return result._replace(problems=tuple(_problems(result, row, run.samples)))


def _detection(run: _Recording) -> tuple[str | None, float]:
    """Return what was named and when [s]; None and NaN if nothing was."""
    for sample in run.samples:
        named = sample.fault or sample.reason or ""
        if sample.time < run.onset or sample.time >= CLEARED:
            continue
        if sample.fault or (run.row.reasons and named.startswith(run.row.reasons)):
            return named, sample.time
    return None, float("nan")


def _first_sign(run: _Recording) -> float:
    """Return the time [s] from which the fault can be noticed."""
    if not run.row.from_start:
        return run.onset
    n = run.q.shape[1]
    planned = np.array([sample.reference[:n] for sample in run.samples])
    first = planned[np.isfinite(planned).all(axis=1)][0]
    moved = np.abs(planned - first).max(axis=1) > PLAN_MOVED
    return float(run.time[moved.argmax()]) if moved.any() else run.onset


def _excursion(run: _Recording, detected: float) -> float:
    """Return how far a joint came from where it may be [rad].

    Until the detection it may be on its plan or at its place at the onset, and then at its place
    of the detection.
    """
    time, q = run.time, run.q
    end = detected if np.isfinite(detected) else CLEARED
    before = (time >= run.onset) & (time <= end)
    place = q[np.searchsorted(time, run.onset)]
    away = np.minimum(np.abs(q - run.nominal), np.abs(q - place))[before]
    after = (time >= end) & (time < (ENGAGED if run.row.latched else CLEARED))
    travel = np.abs(q[after] - q[after][0]) if np.isfinite(detected) else np.zeros(1)
    return float(max(away.max(), travel.max()))


def _first_command(run: _Recording) -> float:
    """Return the distance [rad] of the first setpoint after engaging from the arm."""
    for sample in run.samples:
        if sample.time >= ENGAGED and not sample.fault and np.isfinite(sample.action).all():
            return float(np.abs(sample.action - sample.q).max())
    return float("inf")


def _problems(run: FaultRun, row: FaultRow, samples: list[Sample]) -> list[str]:
    """Return what is not as the table states."""
    problems = []
    tolerated = row.tolerable and run.excursion <= row.max_excursion
    if tolerated and (run.reason is None or run.reason.startswith(row.reasons)):
        pass
    elif row.reasons:
        if run.reason is None or not run.reason.startswith(row.reasons):
            problems.append(f"named {run.reason or 'nothing'}")
        elif not run.detection <= row.deadline:
            problems.append(f"named after {1e3 * run.detection:.0f} ms")
        if row.latched and not run.latched:
            problems.append("did not stay stopped")
    elif run.reason is not None:
        problems.append(f"stopped: {run.reason}")
    if run.excursion > row.max_excursion:
        problems.append(f"excursion {run.excursion:.3f} rad")
    if not run.recovered:
        last = samples[-1]
        problems.append(f"does not follow again: {last.fault or last.reason}")
    if run.first_command > MAX_FIRST_COMMAND:
        problems.append(f"first command {run.first_command:.3f} rad from the arm")
    if run.peak_speed > 1.0:
        problems.append(f"{run.peak_speed:.2f} times rated speed")
    if run.contacts:
        problems.append(f"{run.contacts} ticks in contact")
    return problems
