"""eventsolve itself, on one thread."""

from exchange import Solver, Spikes, Work, answer

import eventsolve as es


def build(work: Work, first: bool = False) -> Solver:
    net = es.Network()
    net.add_input("in", work.w1.shape[1])
    for name, weight in (("hidden", work.w1), ("out", work.w2)):
        net.add_population(name, weight.shape[0], es.LIF(tau_mem=work.tau_mem, tau_syn=work.tau_syn))
    net.connect("in", "hidden", work.w1)
    net.connect("hidden", "out", work.w2)
    inputs = {"in": es.SpikeTrains.from_dense(work.times)}
    loss = es.losses.TTFSCrossEntropy("out", work.labels, tau0=work.tau0, tau1=work.tau1, alpha=work.alpha)

    def solve(_=None):
        return es.solve(net, inputs, work.t_end, threads=1)

    def seen():
        """Solve what the loss can see: all, or each sample until every output has spiked."""
        return es.solve_first_spikes(net, inputs, work.t_end, "out", threads=1) if first else solve()

    def gradient():
        _, found = es.value_and_grad(seen(), loss, threads=1)
        return found.weight["in", "hidden"], found.weight["hidden", "out"]

    def each():
        _, found = es.value_and_grad(seen(), loss, reduction="none", threads=1)
        return found.weight["in", "hidden"], found.weight["hidden", "out"]

    def spikes(solution):
        trains = (solution.spikes[name] for name in ("hidden", "out"))
        return tuple(Spikes(train.samples, train.neurons, train.times) for train in trains)

    return Solver(solve, spikes, gradient, each=each)


if __name__ == "__main__":
    answer(build, "numba", "numpy")
