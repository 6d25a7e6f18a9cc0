"""Solutions that go on where another was cut, at spikes and just behind them: its bits are those of one run."""

import numpy as np
import pytest
from cuts import loops, solved_in_pieces
from memory import noisy, peak

import eventsolve as es


# of 16 a population's last step together is before the last spikes of all of its neurons
@pytest.mark.parametrize("seed", range(24))
def test_streams_cut_at_spikes_have_the_bits_of_one_run(seed):
    net, inputs, names, rng = loops(seed)
    t_end = 60e-3
    try:
        whole = es.solve(net, inputs, t_end, max_spikes=200)
    except es.SpikeBudgetError as error:  # up to where it runs away
        t_end = 0.9 * error.time
        whole = es.solve(net, inputs, t_end)
    times = np.unique(np.concatenate([whole.spikes[name].times for name in names] + [[t_end / 2]]))
    at = rng.choice(times, min(4, times.size), replace=False)
    ends = [np.nextafter(end, 1) if rng.random() < 0.5 else end for end in at]
    ends = sorted({float(end) for end in ends if 0 < end < 0.99 * t_end})
    pieces = solved_in_pieces(net, inputs, [*ends, t_end])
    for name in names:
        for column in ("times", "neurons"):
            joined = np.concatenate([getattr(piece.spikes[name], column) for piece in pieces])
            np.testing.assert_array_equal(joined, getattr(whole.spikes[name], column))


@pytest.mark.parametrize("cycle", [False, True])
def test_a_spike_is_in_the_piece_that_ends_at_its_time(cycle):
    """Of neurons so fast that V tells a crossing from the number next to it, which is that of the end."""
    at_an_end = late = 0
    for seed in range(20):
        rng = np.random.default_rng([11, seed])
        net = es.Network()
        net.add_input("in", 3)
        net.add_population("a", 4, es.LIF(10 ** rng.uniform(-4.5, -3), 10e-3, t_ref=0.3e-3))
        net.add_population("b", 2, es.LIF(20e-3, 5e-3))
        net.connect("in", "a", rng.uniform(1, 4, (4, 3)))
        net.connect("a", "b", rng.uniform(0, 0.5, (2, 4)))
        if cycle:
            net.connect("a", "a", rng.uniform(-0.3, 0.3, (4, 4)), delay=1e-3)
        trains = es.SpikeTrains.from_lists([[np.sort(rng.uniform(0, 0.1, 6)) for _ in range(3)]])
        whole = es.solve(net, {"in": trains}, 0.12)
        end = float(rng.choice(whole.spikes["a"].times))
        pieces = solved_in_pieces(net, {"in": trains}, [end, 0.12])
        for name in ("a", "b"):
            parts = [piece.spikes[name].times for piece in pieces]
            np.testing.assert_array_equal(np.concatenate(parts), whole.spikes[name].times)
        at_an_end += end in pieces[0].spikes["a"].times
        late += pieces[1].spikes["b"].n_spikes > 0
    assert at_an_end == 20
    assert late > 10


def test_the_memory_of_a_long_stream_is_linear_in_its_spikes():
    """Windows of deliveries do not grow with the stream, nor does the record of spikes because they did."""
    net, inputs = noisy(1.0)
    es.solve(net, inputs, 1.0)  # compiled
    per_spike = []
    for seconds in (20.0, 40.0):
        net, inputs = noisy(seconds)
        taken, solution = peak(lambda net=net, s=seconds, given=inputs: es.solve(net, given, s))
        per_spike.append(taken / solution.spikes["hidden"].n_spikes)
        del solution
    assert per_spike[1] < 1.3 * per_spike[0]
    assert per_spike[1] < 300  # 7 columns of which twice as many may be free, and those of the solution
