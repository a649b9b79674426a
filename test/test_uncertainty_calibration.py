import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from invdyn_ros.evaluation.uncertainty_calibration import crps, uncertainty_calibration

ERRORS = np.random.default_rng(0).normal(size=(4000, 2)) * [0.5, 2.0]


def test_true_std_covers_as_a_gaussian_does() -> None:
    metrics = uncertainty_calibration([ERRORS], [np.full_like(ERRORS, [0.5, 2.0])])
    assert metrics is not None
    assert metrics["within_1_std"] == pytest.approx(0.683, abs=0.02)
    assert metrics["within_2_std"] == pytest.approx(0.954, abs=0.01)


@pytest.mark.parametrize("score", ["nll", "crps"])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_true_std_has_the_best_score(score: str, factor: float) -> None:
    honest = np.full_like(ERRORS, [0.5, 2.0])
    right, wrong = (
        uncertainty_calibration([ERRORS], [honest]),
        uncertainty_calibration([ERRORS], [factor * honest]),
    )
    assert right is not None and wrong is not None
    assert right[score] < wrong[score]


@pytest.mark.parametrize(("error", "std"), [(0.3, 0.5), (-2.0, 1.0), (0.0, 3.0)])
def test_crps_equals_its_defining_integral(error: float, std: float) -> None:
    below = quad(lambda x: norm.cdf(x, scale=std) ** 2, -40, error, points=[-5])[0]
    above = quad(lambda x: norm.sf(x, scale=std) ** 2, error, 40, points=[5])[0]
    assert float(crps(np.array(error), np.array(std))) == pytest.approx(below + above, abs=1e-6)


def test_crps_of_a_vanishing_std_is_the_absolute_error() -> None:
    assert crps(np.array([0.7]), np.array([1e-9]))[0] == pytest.approx(0.7)


def test_without_std_there_are_no_metrics() -> None:
    assert uncertainty_calibration([ERRORS], [None]) is None
