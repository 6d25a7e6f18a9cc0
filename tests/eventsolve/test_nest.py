"""Every spike against NEST's neurons with precise spike times, where NEST is installed (pip install nest-simulator).

NEST's iaf_psc_exp_ps solves the same equations in closed form, but from grid point to grid point. It takes delays and
refractory periods in whole steps, one at least, so the networks here have such; then all that differs is rounding.
"""

import numpy as np
import pytest

import eventsolve as es

nest = pytest.importorskip("nest", reason="NEST is not installed")

MS = 1e3
STEP = 2.0**-6  # ms
START = 1.0  # ms: a generator cannot fire at 0


def network(seed, *, t_ref, ratio, recurrent):
    """in -> a -> b, recurrent with b -> a: all times but those of the inputs are on the grid."""
    rng = np.random.default_rng(seed)
    sizes = {"in": 4, "a": 5, "b": 3}
    net = es.Network()
    net.add_input("in", sizes["in"])
    for name in "ab":
        n = sizes[name]
        tau_syn = rng.uniform(3e-3, 9e-3, n)
        tau_mem = tau_syn * (rng.choice([0.5, 2.0, 3.7], n) if ratio is None else ratio)
        threshold, reset, leak = (rng.uniform(*ends, n) for ends in ((0.8, 1.2), (-0.4, 0.2), (-0.3, 0.3)))
        net.add_population(name, n, es.LIF(tau_mem, tau_syn, threshold, reset, leak, t_ref))
    for pre, post, mean in (("in", "a", 2.0), ("a", "b", 1.5), *([("b", "a", -0.5)] if recurrent else [])):
        weight = rng.normal(mean, 1.0, (sizes[post], sizes[pre]))
        net.connect(pre, post, weight, delay=rng.integers(1, 200, weight.shape) * STEP / MS)
    trains = [np.sort(rng.uniform(0.0, 20e-3, 2)) for _ in range(sizes["in"])]
    return net, {"in": es.SpikeTrains.from_lists([trains])}, 40e-3


def simulate(net, inputs, t_end):
    """Return the spikes of every population as NEST finds them: (times in seconds, neurons)."""
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.set(tics_per_ms=2**12, resolution=STEP)
    nodes, recorders = {}, {}
    for name, population in net.populations.items():
        if population.neuron is None:
            trains = inputs[name].to_lists()[0]
            settings = [
                {"precise_times": True, "spike_times": [t * MS + START for t in train]} for train in trains
            ]
            nodes[name] = nest.Create("spike_generator", population.size, settings)
            continue
        columns = {
            "tau_m": population.parameter("tau_mem") * MS,
            "C_m": population.parameter("tau_mem") * MS,  # tau_m / C_m of 1 ms/pF makes 1 pA drive to 1 mV
            "tau_syn_ex": population.parameter("tau_syn") * MS,
            "tau_syn_in": population.parameter("tau_syn") * MS,
            "V_th": population.parameter("v_threshold"),
            "V_reset": population.parameter("v_reset"),
            "E_L": population.parameter("v_leak"),
            "t_ref": population.parameter("t_ref") * MS,
        }
        settings = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        nodes[name] = nest.Create("iaf_psc_exp_ps", population.size, settings)
        recorders[name] = nest.Create("spike_recorder")
        nest.Connect(nodes[name], recorders[name])
    for projection in net.projections.values():
        rows = np.repeat(np.arange(net.population(projection.post).size), np.diff(projection.row_offsets))
        pre, post = (np.array(nodes[name].tolist()) for name in (projection.pre, projection.post))
        synapses = {"weight": np.array(projection.weights), "delay": np.array(projection.delay) * MS}
        nest.Connect(pre[projection.sources], post[rows], "one_to_one", synapses)
    nest.Simulate(START)
    for name in recorders:
        nodes[name].V_m = 0.0  # until now they were on their way to E_L
    nest.Simulate(np.ceil(t_end * MS / STEP + 1) * STEP)
    found = {}
    for name, recorder in recorders.items():
        times = (recorder.events["times"] - START) / MS
        neurons = recorder.events["senders"] - nodes[name].tolist()[0]
        found[name] = times[times <= t_end], neurons[times <= t_end]
    return found


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("t_ref", [STEP / MS, 0.5e-3])
@pytest.mark.parametrize(("seed", "ratio"), [(0, None), (1, None), (2, 1.0)])
def test_every_spike_is_where_nest_puts_it(seed, ratio, t_ref, recurrent):
    given = network(seed, t_ref=t_ref, ratio=ratio, recurrent=recurrent)
    spikes, found = es.solve(*given).spikes, simulate(*given)
    for name, (times, neurons) in found.items():
        assert times.size > 5
        got, want = np.lexsort((spikes[name].times, spikes[name].neurons)), np.lexsort((times, neurons))
        np.testing.assert_array_equal(spikes[name].neurons[got], neurons[want])
        # NEST rounds V, of a few units, at each of 3000 steps: 3e-12; at slopes from 20 per second, 2e-13 s
        np.testing.assert_allclose(spikes[name].times[got], times[want], rtol=0, atol=1e-11)
