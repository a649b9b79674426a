"""Filter of a moving direction that is calm at rest and predicts in motion."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

THIRD_DIFFERENCE = np.array([-1.0, 3.0, -3.0, 1.0])
NOISE_SAMPLES = 40  # differences from whose median the noise is estimated
NOISE_RANGE = (0.3, 4.0)  # of the estimated noise over the assumed one
NOISE_TIME = 0.05
"""Time in which the correlation of MediaPipe's noise falls to 1/e [s]: it is 0.3 to 0.5 from one
image to the next at 20 Hz."""
MEDIAN_TO_STD = 1 / 0.6745  # of a normal distribution
VELOCITY_STD = 1.0  # [rad/s] of a direction that comes into view
REST_VELOCITY_STD = 1e-3  # [rad/s]


class MotionModel(NamedTuple):
    """One of the motions between which a filter decides.

    Attributes:
        drift: change of a direction at rest [rad/s^0.5]; 0 in motion.
        acceleration: white noise of the acceleration in motion [rad/s^1.5].
        duration: mean time until another motion follows [s].
    """

    drift: float
    acceleration: float
    duration: float

    def transition(self, dt: float) -> tuple[np.ndarray, np.ndarray]:
        """Return transition matrix and covariance of the process noise (2, 2) of a step."""
        if not self.acceleration:
            return np.diag([1.0, 0.0]), np.diag([self.drift**2 * dt, REST_VELOCITY_STD**2])
        noise = np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        return np.array([[1.0, dt], [0.0, 1.0]]), self.acceleration**2 * noise


MODELS = (MotionModel(3e-3, 0, 5.0), MotionModel(0, 0.3, 1.0), MotionModel(0, 10.0, 1.0))
"""Rest, slow motion and fast motion."""


class MotionFilter:
    """Interacting multiple model filter (Blom and Bar-Shalom 1988) of a direction.

    One Kalman filter for each kind of motion; the innovations tell how likely each of them is. The
    three axes have noise of their own, which is estimated from the samples.
    """

    def __init__(self, noise: np.ndarray) -> None:
        """Create a filter.

        Args:
            noise: (3,) standard deviation of the samples before it was estimated.
        """
        self._assumed_noise = np.asarray(noise, dtype=float)
        self.reset()

    def reset(self) -> None:
        """Forget the motion: the next sample passes unchanged. The noise is kept."""
        self._probability = np.full(len(MODELS), 1 / len(MODELS))
        self._state: np.ndarray | None = None  # (M, 3, 2) value and velocity
        self._samples: deque[np.ndarray] = deque(maxlen=len(THIRD_DIFFERENCE))
        if not hasattr(self, "_differences"):
            self._differences: deque[np.ndarray] = deque(maxlen=NOISE_SAMPLES)

    @property
    def noise(self) -> np.ndarray:
        """Standard deviation of the samples (3,)."""
        if len(self._differences) < NOISE_SAMPLES // 2:
            return self._assumed_noise
        measured = MEDIAN_TO_STD * np.median(np.abs(self._differences), axis=0)
        low, high = NOISE_RANGE
        return np.clip(measured, low * self._assumed_noise, high * self._assumed_noise)

    def update(self, sample: np.ndarray, dt: float) -> None:
        """Add the next sample (3,), `dt` [s] after the previous one; not used for the first."""
        self._samples.append(sample)
        correlation = np.exp(-dt / NOISE_TIME)
        if len(self._samples) == len(THIRD_DIFFERENCE):
            difference = THIRD_DIFFERENCE @ np.array(self._samples)
            self._differences.append(difference / _difference_std(correlation))
        # correlated noise averages out more slowly than independent noise
        variance = self.noise**2 * (1 + correlation) / (1 - correlation)  # (3,)
        if self._state is None:
            self._start(sample, variance)
            return
        state, covariance, prior = self._mix(dt)
        log_likelihood = np.empty(len(MODELS))
        for i, model in enumerate(MODELS):
            F, Q = model.transition(dt)
            x, P = state[i] @ F.T, F @ covariance[i] @ F.T + Q  # (3, 2), (3, 2, 2)
            S, innovation = P[:, 0, 0] + variance, sample - x[:, 0]
            gain = P[:, :, 0] / S[:, None]
            state[i] = x + gain * innovation[:, None]
            covariance[i] = P - gain[:, :, None] * P[:, None, 0, :]
            log_likelihood[i] = -0.5 * (innovation**2 / S + np.log(S)).sum()
        posterior = prior * np.exp(log_likelihood - log_likelihood.max())
        self._probability = posterior / posterior.sum()
        self._state, self._covariance = state, covariance

    def predict(self, horizon: float) -> np.ndarray:
        """Return the value (3,) at a time [s] after the last sample.

        Raises:
            ValueError: there is no sample yet.
        """
        if self._state is None:
            raise ValueError("a filter without a sample predicts nothing; update it first")
        value, velocity = np.tensordot(self._probability, self._state, 1).T
        return value + horizon * velocity

    def _start(self, sample: np.ndarray, variance: np.ndarray) -> None:
        self._state = np.zeros((len(MODELS), 3, 2))
        self._state[:, :, 0] = sample
        self._covariance = np.zeros((len(MODELS), 3, 2, 2))
        self._covariance[:, :, 0, 0] = variance
        self._covariance[:, :, 1, 1] = VELOCITY_STD**2

    def _mix(self, dt: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return states, covariances and probabilities of the models before the next sample."""
        assert self._state is not None
        stay = np.exp([-dt / model.duration for model in MODELS])
        change = np.repeat((1 - stay[:, None]) / (len(MODELS) - 1), len(MODELS), axis=1)
        np.fill_diagonal(change, stay)
        joint = self._probability[:, None] * change  # (M, M) from, to
        prior = joint.sum(axis=0)
        weight = joint / prior
        state = np.einsum("ij,iab->jab", weight, self._state)
        difference = self._state[:, None] - state  # (M, M, 3, 2) from, to
        outer = difference[..., None] * difference[..., None, :]
        second_moment = self._covariance[:, None] + outer
        return state, np.einsum("ij,ijabc->jabc", weight, second_moment), prior


def _difference_std(correlation: float) -> float:
    """Return the standard deviation of third differences of noise of standard deviation one.

    Args:
        correlation: of successive samples of the noise.
    """
    powers = correlation ** np.abs(np.subtract.outer(np.arange(4), np.arange(4)))
    return float(np.sqrt(THIRD_DIFFERENCE @ powers @ THIRD_DIFFERENCE))
