"""Hypothesis strategies for what several test files draw."""

from hypothesis import strategies as st

TIMES = st.floats(0.0, 1.0) | st.floats(0.0, 1e300) | st.sampled_from([0.0, 5e-324, 1e-3, 1e-3 + 2**-60])
"""Spike times in seconds: ordinary ones, and the ends of what a float64 holds."""


@st.composite
def spike_lists(draw, min_samples=0, max_samples=4, max_neurons=4, max_spikes=5):
    """``(lists, n_neurons)`` as :meth:`SpikeTrains.from_lists` takes them, with times shared between neurons."""
    n_neurons = draw(st.integers(0, max_neurons))
    pool = st.sampled_from(draw(st.lists(TIMES, min_size=1, max_size=4))) | TIMES
    train = st.lists(pool, max_size=max_spikes, unique=True).map(sorted)
    sample = st.lists(train, min_size=n_neurons, max_size=n_neurons)
    return draw(st.lists(sample, min_size=min_samples, max_size=max_samples)), n_neurons
