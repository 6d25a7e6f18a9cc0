"""Does Loihi 2's program compute what Lava computes, to the last bit, and would a mistake be noticed?"""

import dataclasses
import itertools

import numpy as np
import plain_loihi2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from loihi2_reference import CASES, expected, inputs, program

from validation.loihi2.program import Dense, Layer, Program
from validation.loihi2.running import run


@pytest.mark.parametrize("case", CASES)
def test_every_state_and_every_spike_is_that_of_lava(case):
    found = run(program(case), inputs(case))
    for name in ("u", "v", "s"):
        for got, want in zip(getattr(found, name), expected(case, name), strict=True):
            np.testing.assert_array_equal(got[0], want)


def differs(case, mistakes=()):
    found = plain_loihi2.run(program(case), inputs(case), mistakes)
    return any(
        not np.array_equal(layer[k], want)
        for k, name in enumerate("uvs")
        for layer, want in zip(found, expected(case, name), strict=True)
    )


def test_the_twin_computes_what_lava_computes_and_each_mistake_is_noticed_by_some_case():
    assert [case for case in CASES if differs(case)] == []
    for mistake in plain_loihi2.MISTAKES:
        assert any(differs(case, (mistake,)) for case in CASES), mistake


small = st.integers(-300, 300)


@st.composite
def matrices(draw, n_post, n_pre, graded=False):
    weights = draw(
        st.lists(st.lists(small, min_size=n_pre, max_size=n_pre), min_size=n_post, max_size=n_post)
    )
    signs = draw(st.sampled_from([None, 1, -1]))
    weights = np.array(weights) if signs is None else signs * np.abs(weights)
    delays = np.array(
        draw(
            st.lists(
                st.lists(st.integers(0, 4), min_size=n_pre, max_size=n_pre), min_size=n_post, max_size=n_post
            )
        )
    )
    return Dense(
        weights,
        delays * draw(st.booleans()),
        draw(st.integers(-5, 8)),
        draw(st.integers(1, 8)),
        draw(st.sampled_from([None, None, "mixed", "excitatory", "inhibitory"])),
        24 if graded else 0,
    )


@st.composite
def programs(draw):
    sizes = draw(st.lists(st.integers(1, 3), min_size=2, max_size=3))
    graded = draw(st.booleans())
    layers = []
    for k, (n_pre, n) in enumerate(itertools.pairwise(sizes)):

        def values(low, high, n=n):
            return np.array(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)))

        layers.append(
            Layer(
                draw(matrices(n, n_pre, graded and k == 0)),
                draw(st.none() | matrices(n, n)),
                du=values(-1, 4095),
                dv=values(0, 4096),
                vth=values(0, draw(st.sampled_from([3, 600, 131071]))),
                bias_mant=values(-300, 300) * draw(st.booleans()),
                bias_exp=values(-3, 7),
                u0=values(-(2**23), 2**23) * draw(st.booleans()),
                v0=values(1 - 2**23, 2**23 - 1) * draw(st.booleans()),
                reset_interval=draw(st.sampled_from([0, 5])),
                reset_offset=draw(st.integers(0, 7)),
            )
        )
    largest = 1000 if graded else 1
    sent = draw(
        st.lists(
            st.lists(st.just(0) | st.integers(-largest, largest), min_size=sizes[0], max_size=sizes[0]),
            min_size=12,
            max_size=12,
        )
    )
    return Program(tuple(layers)), np.array(sent)


OVERLAP = Program((Layer(Dense([[255, 255]], [[3, 0]], -1), Dense([[-255]], [[2]], -2), du=-1, vth=2),))


@given(programs())
@example((OVERLAP, np.ones((12, 2), int)))
def test_random_programs_are_those_of_the_twin(case):
    made, sent = case
    found = run(made, sent)
    for layer, want in enumerate(plain_loihi2.run(made, sent)):
        for k, name in enumerate("uvs"):
            np.testing.assert_array_equal(getattr(found, name)[layer][0], want[k])


def test_samples_do_not_know_of_each_other_whatever_the_threads():
    made = program("recurrent_6_delays")
    sent = np.stack([inputs("recurrent_6_delays"), 1 - inputs("recurrent_6_delays")] * 10)
    one, several = run(made, sent, threads=1), run(made, sent, threads=2)
    np.testing.assert_array_equal(one.v[0], several.v[0])
    np.testing.assert_array_equal(one.s[0][::2], np.repeat(one.s[0][:1], 10, axis=0))
    np.testing.assert_array_equal(one.s[0][0], expected("recurrent_6_delays", "s")[0])
    assert (one.s[0][0] != one.s[0][1]).any()


@pytest.mark.parametrize(
    ("case", "counter", "want"), [("current_wraps", "wraps", 10), ("never_fires", "clips", 144)]
)
def test_what_happens_at_24_bits_is_counted(case, counter, want):
    # 10 and 144 by counting in the twin's states: u that jumps by more than half a turn, v at its end
    u, v = (expected(case, name)[0].astype(np.int64) for name in "uv")
    if counter == "wraps":
        assert np.count_nonzero(np.abs(np.diff(u, axis=0)) > 2**23) >= want // 2
    else:
        assert np.count_nonzero(np.abs(v) == 2**23 - 1) == want
    assert getattr(run(program(case), inputs(case)), counter) == want


def test_weights_that_are_clipped_are_counted():
    assert Dense([[300, -300, 254, -256]]).n_clipped == 2
    assert Dense([[300, 255, 0]]).n_clipped == 1
    assert Dense([[-300, -255, 0]]).n_clipped == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"du": 4096}, r"du must be integers in -1\.\.4095; it is 4096"),
        ({"dv": -1}, "dv must be integers in"),
        ({"vth": 1.5}, "vth must be integers; got float64"),
        ({"du": [1, 2]}, "du must be an integer or have shape"),
        ({"rec": Dense([[1, 2]])}, r"rec must be a Dense of shape \(1, 1\)"),
        ({"reset_interval": -1}, "reset_interval must be an integer in"),
    ],
)
def test_what_is_no_layer_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Layer(**({"ff": Dense([[1, 2]])} | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [1, 2]}, "weights must have shape"),
        ({"weights": [[0.5]]}, "weights must be integers; got float64"),
        ({"delays": 64}, r"delays must be integers in 0\.\.63"),
        ({"num_weight_bits": 9}, r"num_weight_bits of excitatory weights must be an integer in 0\.\.8"),
        ({"sign_mode": "both"}, "sign_mode must be one of mixed, excitatory, inhibitory or None; got 'both'"),
        ({"weight_exp": 17}, "weight_exp must be an integer in"),
    ],
)
def test_what_is_no_matrix_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Dense(**({"weights": [[1, 2]]} | change))


def test_layers_that_do_not_fit_and_sums_beyond_53_bits_are_refused():
    first, second = Layer(Dense([[1], [2]])), Layer(Dense([[1, 2, 3]]))
    with pytest.raises(ValueError, match="ff of layer 1 must have 2 columns"):
        Program((first, second))
    with pytest.raises(ValueError, match="layers must be one Layer or more"):
        Program(())
    with pytest.raises(ValueError, match="num_message_bits of layer 1 must be 0"):
        Program((first, Layer(Dense([[1, 2]], num_message_bits=8))))
    heavy = Program((Layer(Dense([[255]], weight_exp=16, num_message_bits=32)),))
    with pytest.raises(ValueError, match="to more than float64 computes exactly"):
        run(heavy, np.full((10, 1), 2**30))
    with pytest.raises(ValueError, match=r"inputs must have shape \(n_samples, n_rows, 1\)"):
        run(heavy, np.ones((10, 2), int))


def test_programs_are_equal_by_their_numbers_and_print_in_a_few_lines():
    made = program("recurrent_6")
    again = Program(tuple(dataclasses.replace(layer) for layer in made.layers))
    assert made == again
    other = dataclasses.replace(made.layers[0], vth=made.layers[0].vth + 1)
    assert made != Program((other,))
    assert len(repr(made).splitlines()) < 10
