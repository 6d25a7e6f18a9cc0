"""Are the generated Yin-Yang points the published ones, and do the encodings say what their formulas say?"""

import numpy as np
import pytest

from eventsolve.io.datasets import (
    encode_latency,
    encode_steps,
    latency_steps,
    normal_weights,
    yin_yang,
    yin_yang_class,
)


def published_points(size, seed, radius=0.5, dot=0.1):
    """The data set's procedure written out on NumPy's global-style stream."""
    random = np.random.RandomState(seed)
    rows = []
    for _ in range(size):
        goal = random.randint(3)
        while True:
            x, y = random.rand(2) * 2.0 * radius
            if np.sqrt((x - radius) ** 2 + (y - radius) ** 2) > radius:
                continue
            right = np.sqrt((x - 1.5 * radius) ** 2 + (y - radius) ** 2)
            left = np.sqrt((x - 0.5 * radius) ** 2 + (y - radius) ** 2)
            is_yin = (
                right <= dot or (left > dot and left <= 0.5 * radius) or (y > radius and right > 0.5 * radius)
            )
            if (2 if right < dot or left < dot else int(is_yin)) == goal:
                rows.append((x, y, 1 - x, 1 - y, goal))
                break
    return np.array(rows)


@pytest.mark.parametrize("seed", [40, 41, 42, 0])
def test_points_are_those_of_the_published_procedure(seed):
    data, expected = yin_yang(50, seed), published_points(50, seed)
    np.testing.assert_array_equal(data.points, expected[:, :4])
    np.testing.assert_array_equal(data.labels, expected[:, 4])


def test_classes_of_known_places():
    places = {(0.25, 0.5): 2, (0.75, 0.5): 2, (0.25, 0.65): 1, (0.5, 0.9): 1, (0.5, 0.1): 0, (0.75, 0.65): 0}
    assert {place: yin_yang_class(*place) for place in places} == places


def test_the_record_is_read_only_and_empty_is_allowed():
    data = yin_yang(0)
    assert data.points.shape == (0, 4)
    assert data.labels.shape == (0,)
    with pytest.raises(ValueError, match="read-only"):
        yin_yang(1).points[0] = 0


@pytest.mark.parametrize(
    ("arguments", "name"), [((-1,), "n_samples"), ((1.5,), "n_samples"), ((2, -1), "seed")]
)
def test_bad_sizes_and_seeds_are_named(arguments, name):
    with pytest.raises(ValueError, match=name):
        yin_yang(*arguments)


def test_latency_encoding_is_linear_with_a_bias_at_zero():
    trains = encode_latency([[0.0, 0.5, 1.0]], t_min=2e-3, t_max=32e-3)
    np.testing.assert_allclose(trains.first(), [[2e-3, 17e-3, 32e-3, 0.0]], rtol=1e-15)


def test_step_code_at_its_fixed_points():
    steps = latency_steps([[1.0, 0.5, 0.0]])
    np.testing.assert_array_equal(steps, [[2, 14, 26, 0]])
    np.testing.assert_array_equal(encode_steps([[1.0, 0.5, 0.0]], step=2e-3).first(), steps * 2e-3)


def test_step_code_rounds_half_to_even():
    span = 24
    x = 1 - np.array([0.5, 1.5, 2.5]) / span
    halves = np.round(np.minimum(span * (1 - x), 0.99 * span) + 2)
    np.testing.assert_array_equal(latency_steps(x[None])[0, :3], halves)


@pytest.mark.parametrize("bad", [[[np.nan]], [[-0.1]], [[1.1]], [0.5]])
@pytest.mark.parametrize("encode", [encode_latency, encode_steps])
def test_bad_points_are_named(bad, encode):
    with pytest.raises(ValueError, match="points"):
        encode(bad)


def test_weights_have_the_shapes_and_moments_asked_for():
    first, second = normal_weights((5, 4000, 3), ((1.5, 0.78), (0.93, 0.1)), seed=7)
    assert first.shape == (4000, 5)
    assert second.shape == (3, 4000)
    assert abs(first.mean() - 1.5) < 5 * 0.78 / np.sqrt(first.size)
    assert abs(second.std() - 0.1) < 5 * 0.1 / np.sqrt(2 * second.size)
    again = normal_weights((5, 4000, 3), ((1.5, 0.78), (0.93, 0.1)), seed=7)
    np.testing.assert_array_equal(first, again[0])
    with pytest.raises(ValueError, match="moments"):
        normal_weights((5, 3), (), seed=0)
