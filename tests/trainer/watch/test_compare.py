"""Permutation tests: exact p-values, one false-alarm rate for all statistics, power."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.watch.compare import COMPONENTS, average_ranks, compare, components, minimum_images, neighbours

# scipy.stats takes a second to import, which only these two tests need.


@given(st.lists(st.sampled_from([-1.5, 0.0, 2.0, 2.5]) | st.floats(allow_nan=False), max_size=30))
def test_ranks_are_those_of_scipy(values: list[float]) -> None:
    from scipy.stats import rankdata

    assert average_ranks(np.array(values, float)).tolist() == rankdata(values).tolist()


def test_one_statistic_has_the_p_value_of_scipy() -> None:
    from scipy.stats import mannwhitneyu, permutation_test

    rng = np.random.default_rng(0)
    before, now = rng.normal(size=12), rng.normal(0.9, size=9)
    found = compare(before[:, None], now[:, None], permutations=9999, seed=1)
    ranks = np.concatenate([before, now]).argsort().argsort().astype(float)
    expected = permutation_test(
        (ranks[:12], ranks[12:]),
        lambda x, y, axis: abs(y.mean(axis=axis) - x.mean(axis=axis)),
        vectorized=True,
        n_resamples=9999,
        alternative="greater",
        rng=np.random.default_rng(2),
    )
    assert found.p == pytest.approx(expected.pvalue, abs=0.01)
    assert found.effects[0] == pytest.approx(2 * mannwhitneyu(now, before).statistic / (12 * 9) - 1)


def test_adjusted_p_values_are_westfall_and_youngs() -> None:
    """By their definition, over all permutations of a small set."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(7, 3)) + np.repeat([[0.0], [1.0]], [4, 3], axis=0) * [2.0, 0.5, 0.0]
    found = compare(values[:4], values[4:], permutations=20_000, seed=0)
    ranks = values.argsort(axis=0).argsort(axis=0).astype(float)
    ranks = (ranks - ranks.mean(axis=0)) / ranks.std(axis=0)
    every = np.array([abs(ranks[list(new)].sum(axis=0)) for new in itertools.combinations(range(7), 3)])
    observed = abs(ranks[4:].sum(axis=0))
    order = observed.argsort()[::-1]
    expected, last = np.zeros(3), 0.0
    for place, column in enumerate(order):
        last = max(last, (every[:, order[place:]].max(axis=1) >= observed[column] - 1e-9).mean())
        expected[column] = last
    np.testing.assert_allclose(found.adjusted, expected, atol=0.02)
    assert found.p == found.adjusted.min()


def test_missing_and_equal_values_are_no_difference() -> None:
    before = np.array([[1.0, np.nan, 5.0, np.nan]] * 20)
    now = np.array([[1.0, np.nan, np.nan, 7.0]] * 20)
    found = compare(before, now, permutations=99, seed=0)
    assert found.adjusted.tolist() == [1.0] * 4
    assert found.effects.tolist() == [0.0] * 4
    assert (found.p, found.tested) == (1.0, 0)


def test_the_same_seed_gives_the_same_answer() -> None:
    rng = np.random.default_rng(0)
    before, now = rng.normal(size=(30, 5)), rng.normal(size=(20, 5))
    features = rng.normal(size=(30, 40)), rng.normal(size=(20, 40))
    first, again, other = (compare(before, now, features, permutations=199, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.adjusted, again.adjusted)
    assert len(first.adjusted) == 5 + COMPONENTS + 1
    assert not np.array_equal(first.adjusted, other.adjusted)


def test_false_alarms_are_as_many_as_stated() -> None:
    """Skewed, tied and dependent statistics, few images, many features: 200 splits at alpha = 0.05."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(200):
        common = rng.normal(size=(45, 1))
        values = np.concatenate(
            [rng.poisson(0.3, (45, 6)), np.exp(common + 0.1 * rng.normal(size=(45, 4))), rng.normal(size=(45, 5))], 1
        )
        features = common + rng.normal(size=(45, 24))
        alarms += compare(values[:30], values[30:], (features[:30], features[30:]), permutations=99, seed=0).p <= 0.05
    assert 2 <= alarms <= 21  # 10 expected; each bound is passed by chance about once in a thousand times


def test_a_moved_statistic_is_found_among_many_and_only_it() -> None:
    rng = np.random.default_rng(0)
    before, now = rng.normal(size=(80, 40)), rng.normal(size=(50, 40))
    now[:, 7] += 1.2
    found = compare(before, now, permutations=999, seed=0)
    assert found.p == found.adjusted[7] == 0.001
    assert np.delete(found.adjusted, 7).min() > 0.05
    assert found.effects[7] > 0.5


def test_a_new_kind_of_image_that_moves_no_mean_is_found_by_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=(100, 12)) * 3
    now = rng.normal(size=(60, 12)) * 0.3  # in the middle of the others
    nothing = np.zeros((100, 1)), np.zeros((60, 1))
    found = compare(*nothing, (before, now), permutations=999, seed=0)
    assert found.adjusted[-1] == 0.001
    assert found.effects[-1] > 0.8
    assert found.adjusted[:-1].min() > 0.01


def test_components_and_neighbours() -> None:
    rng = np.random.default_rng(0)
    line = rng.normal(size=(20, 1)) * np.array([[1.0, -2.0, 3.0]])
    found = components(line)
    assert found.shape == (20, 3)
    assert np.abs(found[:, 1:]).max() < 1e-6
    graph = neighbours(np.arange(12.0)[:, None] ** 2).toarray()
    assert graph.sum(axis=1).tolist() == [5] * 12
    assert graph[0].nonzero()[0].tolist() == [1, 2, 3, 4, 5]
    assert neighbours(np.zeros((1, 2))).sum() == 0


def test_the_minimum_finds_a_shift_of_one_deviation() -> None:
    profile, statistics, alpha = 80, 40, 0.01
    minimum = minimum_images(profile, statistics, alpha)
    assert minimum is not None
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(40):
        before, now = rng.normal(size=(profile, statistics)), rng.normal(size=(minimum, statistics))
        now[:, 0] += 1.0
        hits += compare(before, now, permutations=199, seed=0).adjusted[0] <= alpha
    assert 24 <= hits <= 40  # 32 expected, and some more
    assert minimum_images(1000, statistics, alpha) < minimum < minimum_images(60, statistics, alpha)  # type: ignore[operator]
    assert minimum_images(20, statistics, alpha) is None
