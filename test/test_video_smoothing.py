"""Smoothing of video predictions with those of the neighbouring intervals."""

from __future__ import annotations

import pytest
import torch
from synthetic_videos import patch_video
from test_video_models import VIDEO_FAMILIES, make, pixels_and_time

from invdyn_ros.data.windows import whole_trajectories
from invdyn_ros.models.inverse_dynamics import InverseDynamics

RECORDINGS = [patch_video(k, 20) for k in range(3)]


def calibrated(family: str, frames: int = 20) -> InverseDynamics:
    model = make(family)
    model.calibrate(
        whole_trajectories([t[:frames] for t in RECORDINGS], 0.0, model.dtype, "pixels")
    )
    return model


def error(model: InverseDynamics, rows: slice) -> torch.Tensor:
    """Return the mean squared error of each joint in some rows of all recordings."""
    errors = [
        (model.predict(motion, time).mean - action)[:, rows].square().mean((0, 1))
        for motion, time, action in whole_trajectories(RECORDINGS, 0.0, model.dtype, "pixels")
    ]
    return torch.stack(errors).mean(0)


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_smoothing_lowers_the_error_on_the_calibration_data(family: str) -> None:
    uncalibrated, smoothed = make(family), calibrated(family)
    inside = slice(2, -1)
    assert (error(smoothed, inside) < error(uncalibrated, inside)).all()


@pytest.mark.parametrize("family", VIDEO_FAMILIES)
def test_smoothed_action_depends_on_one_interval_on_each_side(family: str) -> None:
    model, (pixels, time) = calibrated(family), pixels_and_time()
    other = pixels.clone()
    other[:, 4, :-1] = 255 - other[:, 4, :-1]
    before, after = model.predict(pixels, time).mean, model.predict(other, time).mean
    changed = (before != after).any(-1)[0].tolist()
    assert changed == [k in (3, 4, 5, 6) for k in range(8)]
    live = model.predict(pixels[:, 1:4], time[:, 1:4]).mean[:, -1]  # no image after it
    torch.testing.assert_close(live, model.predict(pixels[:, :4], time[:, :4]).mean[:, -1])


def test_reversed_recording_has_negated_actions() -> None:
    model, (pixels, time) = calibrated("keypoints"), pixels_and_time()
    assert model.get_buffer("smoothing_weights")[..., [0, 2]].any()
    forth, back = (model.predict(x, time).mean[:, 1:] for x in (pixels, pixels.flip(1)))
    torch.testing.assert_close(back, -forth.flip(1), rtol=1e-4, atol=1e-6)


def test_too_short_recordings_leave_the_weights_unchanged() -> None:
    for family in VIDEO_FAMILIES:
        weights = calibrated(family, frames=3).get_buffer("smoothing_weights")
        assert torch.equal(weights, make(family).get_buffer("smoothing_weights"))
