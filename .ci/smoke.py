"""Does an installed eventsolve work here? It imports, solves, differentiates, certifies, reads NIR and runs commands.

``.ci/run`` executes this with every Python of the machine and with the lowest versions that setup.cfg declares. What is
computed is held against mpmath, and against differences.
"""

import importlib.metadata
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import eventsolve as es


def network(t_ref=1e-3):
    net = es.Network()
    net.add_input("in", 2)
    net.add_population("hidden", 3, es.LIF(tau_mem=20e-3, tau_syn=5e-3))
    net.add_population("out", 2, es.LIF(tau_mem=20e-3, tau_syn=5e-3, t_ref=t_ref))
    net.connect("in", "hidden", [[9.0, 4.0], [5.0, 8.0], [7.0, 7.0]])
    net.connect("hidden", "out", [[8.0, 3.0, 5.0], [4.0, 9.0, 6.0]], delay=1e-3)
    return net


def solved():
    net, loop = network(), network()
    loop.connect(
        "out", "hidden", [[2.0, -1.0]] * 3, delay=1.5e-3
    )  # solved by an event queue, not layer by layer
    trains = {"in": es.SpikeTrains.from_lists([[[0.0, 6e-3], [2e-3]]])}
    return [(n, trains, es.solve(n, trains, t_end=30e-3)) for n in (net, loop)]


def check_spikes_and_gradients():
    for net, trains, solution in solved():
        exact = es.multiprecision.solve(net, trains, 30e-3, digits=30)
        for name in ("hidden", "out"):
            wanted = [float(time) for time, _ in exact.spikes[name][0]]
            np.testing.assert_allclose(solution.spikes[name].times, wanted, rtol=1e-12)
            assert len(wanted) > 3
        loss = es.losses.TTFSCrossEntropy("out", [0], tau0=0.5e-3, tau1=6.4e-3, alpha=3e-3)
        value, gradients = es.value_and_grad(solution, loss)
        h = 1e-6
        weights = net.projections["in", "hidden"].weight
        ends = []
        for sign in (1, -1):
            moved = np.array(weights, dtype=float)
            moved[0, 0] += sign * h
            other = net.with_weights({("in", "hidden"): moved})
            ends.append(es.value_and_grad(es.solve(other, trains, t_end=30e-3), loss)[0])
        slope = (ends[0] - ends[1]) / (2 * h)
        np.testing.assert_allclose(gradients.weight["in", "hidden"][0, 0], slope, rtol=1e-6)
        assert value > 0
        assert es.certify(solution, gradients=loss).proven
        assert es.margins(solution).smallest()


def check_nir(folder):
    import nir

    from eventsolve.io.nir import from_nir, to_nir

    path = folder / "net.nir"
    net = network(t_ref=0.0)  # NIR has none
    nir.write(path, to_nir(net))
    read = from_nir(nir.read(path))
    for key, projection in net.projections.items():
        np.testing.assert_array_equal(read.projections[key].weight, projection.weight)
        np.testing.assert_array_equal(read.projections[key].delay, projection.delay)


def check_commands(folder):
    def run(*arguments):
        command = [sys.executable, "-P", "-m", "validation", *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout

    assert importlib.metadata.version("eventsolve") in run("--version")
    commands = ("check", "yinyang", "chip", "attribute", "converge", "recommend", "localise")
    assert all(name in run("--help") for name in (*commands, "train"))
    for name in commands:
        assert name in run(name, "--help")
    small = ("--samples", "2", "--dt", "1ms", "--format", "float64", "--setup", "5-120-3")
    run("yinyang", *small, "--out", "report")
    assert json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))["runs"]


def main():
    names = ("numpy", "scipy", "numba", "typer", "eventsolve")
    print(
        sys.version.split()[0], *(f"{name} {importlib.metadata.version(name)}" for name in names), flush=True
    )
    assert es.__version__ == importlib.metadata.version("eventsolve")
    assert "site-packages" in es.__file__, es.__file__
    check_spikes_and_gradients()
    with tempfile.TemporaryDirectory() as folder:
        check_nir(Path(folder))
        check_commands(Path(folder))


if __name__ == "__main__":
    main()
