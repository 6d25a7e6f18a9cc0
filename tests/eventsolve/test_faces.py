"""What records print: a few lines and a small table, however large they are and whatever their names are."""

import time
from functools import cache

import numpy as np
import pytest
import scipy.sparse as sp

import eventsolve as es
from eventsolve import compare
from eventsolve.io.records import Record
from eventsolve.problem import Problem
from validation import oracle

HOSTILE = "o\x1b[31m<b>\n\u202eut" + "x" * 300
LOSS = {"tau0": 0.5e-3, "tau1": 6.4e-3, "alpha": 3e-3}


@cache
def shown():
    """Everything that prints as a summary, of a network with a hostile name, by its class."""
    rng = np.random.default_rng(1)
    net = es.Network()
    net.add_input("in", 5)
    net.add_population("hidden", 20, es.LIF(np.linspace(20e-3, 22e-3, 20), 5e-3))
    net.add_population(HOSTILE, 3, es.LIF(20e-3, 5e-3))
    net.connect("in", "hidden", rng.normal(3, 1, (20, 5)))
    net.connect("hidden", HOSTILE, sp.csr_array(rng.normal(3, 1, (3, 20))), delay=1e-3)
    inputs = {"in": es.SpikeTrains.from_lists([[[1e-3 * (n + 1)] for n in range(5)]] * 2)}
    problem = Problem(net, inputs, 30e-3, es.losses.TTFSCrossEntropy(HOSTILE, [0, 1], **LOSS))
    large = Problem(net.with_weights({}), inputs | {"in": inputs["in"]}, 30e-3, problem.loss)
    solution = problem.solution
    gradients = es.value_and_grad(solution, problem.loss)[1]
    recorded = oracle.oracle(problem)
    return {
        "Network": net,
        "SpikeTrains": inputs["in"],
        "Solution": solution,
        "State": solution.final_state,
        "Gradients": gradients,
        "StreamGradients": es.value_and_grad_in_pieces(net, inputs, 30e-3, problem.loss, 2)[1],
        "Margins": es.margins(solution),
        "RadiusEstimate": es.trust_radius(solution, certify=False),
        "TrustRadius": es.trust_radius(solution, of={"weight": {("in", "hidden"): 1.0}}),
        "Certificate": es.certify(solution),
        "Condition": gradients.condition,
        "Projection": net.projections["in", "hidden"],
        "Problem": large,
        "Record": Record(HOSTILE, 30e-3, inputs, {"hidden": solution.spikes["hidden"]}, net),
        "Record of a target": recorded,
        "Comparison": compare.compare(recorded, recorded, window=1e-6),
    }


NAMES = (
    *(
        "Network",
        "SpikeTrains",
        "Solution",
        "State",
        "Gradients",
        "StreamGradients",
        "Margins",
        "RadiusEstimate",
    ),
    *("TrustRadius", "Certificate", "Condition", "Projection", "Problem", "Record", "Record of a target"),
    "Comparison",
)


def test_all_are_printed():
    assert tuple(shown()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_record_prints_in_a_few_lines_what_it_is(name, monkeypatch):
    monkeypatch.setattr("eventsolve.problem.MOST_NUMBERS", 10)
    value = shown()[name]
    lines = repr(value).splitlines()
    assert lines[0].startswith(f"{name.split()[0]}(") or lines[0] == name
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 120
    html = value._repr_html_()
    for face in (*lines, html):
        assert face.isprintable()
    assert "<b>" not in html
    assert html.startswith("<table>")
    assert html.count("<tr>") < 20


def test_what_a_large_network_prints_is_small_and_takes_no_time():
    net = es.Network()
    for k in range(60):
        net.add_input(f"in {k}", 1)
    net.add_population("out", 1000, es.LI(np.full(1000, 20e-3), 5e-3))
    net.connect("in 0", "out", np.ones((1000, 1)))
    net.freeze()
    start = time.perf_counter()
    text = repr(net)
    assert time.perf_counter() - start < 0.5  # 62 rows cost well below 10 ms
    assert text.splitlines()[-1].split() == ["...", "and", "46", "more"]
    assert repr(net.population("out").neuron) == (
        "LI(tau_mem=<float64 (1000,)>, tau_syn=0.005, v_leak=0.0, v_initial=0.0, i_initial=0.0)"
    )


def test_a_network_says_sizes_delays_and_time_constants():
    assert repr(shown()["Network"]).splitlines()[:3] == [
        "Network(3 populations, 2 projections)",
        "  in                                        5 inputs",
        "  hidden                                    20 LIF, tau_mem 20 to 22 ms, tau_syn 5 ms",
    ]
    assert repr(shown()["Network"]).splitlines()[-1].endswith("60 sparse synapses, delay 1 ms")


def test_a_loss_with_many_labels_prints_on_one_line():
    assert repr(es.losses.TTFSCrossEntropy("out", range(3000), **LOSS)).startswith(
        "TTFSCrossEntropy(population='out', labels=<int64 (3000,)>, tau0=0.0005"
    )


def test_a_certificate_says_whether_it_proves():
    proven = shown()["Certificate"]
    assert repr(proven).startswith("Certificate(proven)")
    spikes = dict(proven.spike_times)
    solution = shown()["Solution"]
    late = solution.spikes["hidden"]
    claimed = es.SpikeTrains.from_arrays(
        late.times + 1e-5, late.neurons, late.samples, n_neurons=20, n_samples=2
    )
    refuted = es.certify(solution, spikes={"hidden": claimed})
    assert repr(refuted).startswith("Certificate(not proven)")
    assert "refuted" in repr(refuted)
    assert repr(es.certify(solution, spikes={})).startswith("Certificate(proves nothing)")
    assert set(spikes) == {"hidden", HOSTILE}


def test_gradients_say_what_they_are_of_and_how_large():
    rows = repr(shown()["Gradients"]).splitlines()
    norm = np.linalg.norm(shown()["Gradients"].weight["in", "hidden"])
    assert rows[0] == "Gradients(over 2 samples)"
    assert rows[1].endswith(f"(20, 5), norm {norm:.3g}")
    solution, loss = shown()["Solution"], shown()["Problem"].loss
    each = es.value_and_grad(solution, loss, reduction="none")[1]
    assert "2 of (3, 20), norm" in repr(each)


def test_margins_name_the_nearest_of_each_kind():
    margins = shown()["Margins"]
    for kind, (nearest,) in margins.smallest().items():
        assert str(nearest)[:20] in repr(margins), kind
