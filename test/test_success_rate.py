"""Intervals of success rates and of paired differences."""

import numpy as np
import pytest

from invdyn_ros.grasp.policies.success_rate import paired_difference


def pairs(both, only_a, only_b, neither):
    counts = np.array([both, only_a, only_b, neither])
    a, b = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    return np.repeat(a, counts), np.repeat(b, counts)


@pytest.mark.parametrize("fractions", [(0.9, 0.05, 0.03, 0.02), (0.5, 0.2, 0.1, 0.2)])
def test_interval_of_a_difference_has_its_nominal_coverage(fractions):
    random, n, runs = np.random.default_rng(1), 300, 600
    expected = fractions[1] - fractions[2]
    intervals = [paired_difference(*pairs(*random.multinomial(n, fractions))) for _ in range(runs)]
    inside = np.mean([i.ci_low <= expected <= i.ci_high for i in intervals])
    assert 0.92 < inside < 0.99
    assert np.mean([i.value for i in intervals]) == pytest.approx(expected, abs=0.005)


def test_difference_is_antisymmetric():
    a, b = pairs(200, 30, 10, 60)
    difference, reverse = paired_difference(a, b), paired_difference(b, a)
    assert difference.value == pytest.approx(20 / 300)
    np.testing.assert_allclose(
        reverse, [-difference.value, -difference.ci_high, -difference.ci_low], atol=1e-12
    )
    assert difference.ci_low > 0  # 30 against 10


def test_correlated_outcomes_have_a_narrower_interval():
    correlated = paired_difference(*pairs(150, 5, 5, 140))
    anticorrelated = paired_difference(*pairs(5, 150, 150, 5))
    assert correlated.ci_high - correlated.ci_low < 0.5 * (
        anticorrelated.ci_high - anticorrelated.ci_low
    )


@pytest.mark.parametrize("counts", [(9, 0, 0, 0), (0, 0, 0, 9), (0, 9, 0, 0), (0, 0, 9, 0)])
def test_difference_of_constant_outcomes_stays_within_its_range(counts):
    difference = paired_difference(*pairs(*counts))
    assert (
        -1 <= difference.ci_low <= difference.value <= difference.ci_high <= 1
        and difference.ci_high - difference.ci_low > 0.1
    )


def test_unpaired_outcomes_are_rejected():
    for a, b in (([], []), ([True], [True, False])):
        with pytest.raises(ValueError, match="run both policies on the same episodes"):
            paired_difference(a, b)
