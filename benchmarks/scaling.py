"""How cost grows with neurons, synapses, spikes and batch: python benchmarks/scaling.py [--out docs].

Each of four sweeps multiplies one number and leaves the others. Times are those of one processor, the least of some
repetitions, so that what else runs on the machine matters little; a slope is that of a line through the logarithms.
With a folder it writes ``scaling.md`` and ``scaling.png``, which the documents have.
"""

import argparse
import platform
import time
from pathlib import Path

import numpy as np
from recurrent import network, warm_up
from yinyang import problem, to_the_end

import eventsolve as es
from eventsolve.files import whole, write_texts

WEIGHT = ("weight",)


def least(function, repeat: int):
    """Return the least processor time of some calls in seconds, and what the function returned."""
    times = []
    for _ in range(repeat):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return min(times), result


def loop(net, span: float, repeat: int):
    """Return the times of a recurrent network forward and back, and its spikes."""
    es.solve(net, {}, 0.0)  # lay the synapses out
    forward, solution = least(lambda: es.solve(net, {}, span, threads=1), repeat)
    n_spikes = solution.spikes["loop"].n_spikes
    cotangents = {"loop": np.ones(n_spikes)}
    back, _ = least(lambda: es.vjp(solution, cotangents, wrt=WEIGHT, threads=1), repeat)
    return forward, back, n_spikes


def neurons(repeat: int):
    for n in (250, 500, 1000, 2000):
        yield n, *loop(network(n, lambda n: 1.5e-3, np.random.default_rng(1))[0], 0.4, repeat)


def synapses(repeat: int):
    n = 2000
    for k in (50, 100, 200, 400):
        yield k, *loop(network(n, None, np.random.default_rng(2), density=k / n)[0], 0.05, repeat)


def spikes(repeat: int):
    net, _ = network(250, lambda n: 1.5e-3, np.random.default_rng(1))
    for span in (1.0, 2.0, 4.0, 8.0):
        forward, back, n_spikes = loop(net, span, repeat)
        yield n_spikes, forward, back, n_spikes


def batch(repeat: int):
    for n in (1, 16, 256, 4096):
        net, inputs, loss = problem(n, 20e-3)
        forward, solution = least(lambda net=net, inputs=inputs: to_the_end(net, inputs, 1), repeat)
        back, _ = least(
            lambda solution=solution, loss=loss: es.value_and_grad(solution, loss, wrt=WEIGHT, threads=1),
            repeat,
        )
        yield n, forward, back, sum(solution.spikes[name].n_spikes for name in ("hidden", "out"))


SWEEPS = {
    "neurons": (neurons, "dense recurrent network, one delay, 0.4 s; synapses grow with the square"),
    "synapses": (synapses, "of each of 2000 neurons, recurrent, with a delay each, 0.05 s"),
    "spikes": (spikes, "dense recurrent network of 250 neurons, one delay, over 1 to 8 s"),
    "batch": (batch, "Yin-Yang samples, 5-200-3, loss of first spikes"),
}


def slope(x, y) -> float:
    """Return the power of x with which y grows."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def page(found) -> str:
    """Return the document."""
    lines = [
        "# How cost grows",
        "",
        "Made by `python benchmarks/scaling.py --out docs`; do not edit.",
        "",
        f"One thread, processor time, {platform.system()} {platform.machine()}, Python {platform.python_version()}.",
        "Each sweep multiplies one number and leaves the others. The slope is the power with which cost grows, of the",
        "line through the logarithms; *last* is that between the two largest, where what every call costs shows least.",
        "",
        "![Cost against neurons, synapses, spikes and batch](scaling.png)",
        "",
        "| sweep | of | spikes | forward (ms) | slope | last | gradient for weights (ms) | slope | last |",
        "|---|---|---|---|---:|---:|---|---:|---:|",
    ]
    for name, rows in found.items():
        x, forward, back, n_spikes = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
        cells = [
            f"{name}: " + ", ".join(f"{value:.0f}" for value in x),
            SWEEPS[name][1],
            ", ".join(f"{value:.0f}" for value in n_spikes),
            ", ".join(f"{value * 1e3:.3g}" for value in forward),
            f"{slope(x, forward):.2f}",
            f"{slope(x[-2:], forward[-2:]):.2f}",
            ", ".join(f"{value * 1e3:.3g}" for value in back),
            f"{slope(x, back):.2f}",
            f"{slope(x[-2:], back[-2:]):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(found, path: Path) -> None:
    """Draw the four sweeps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    for axes, (name, rows) in zip(figure.subplots(1, 4), found.items(), strict=True):
        x, forward, back, _ = zip(*rows, strict=True)
        for label, seconds, marker in (("forward", forward, "o"), ("gradient for weights", back, "s")):
            axes.loglog(x, np.array(seconds) * 1e3, marker=marker, label=label)
        axes.set_xticks(x, [f"{value:,}" for value in x])
        axes.minorticks_off()
        axes.set_xlabel(name)
    figure.axes[0].set_ylabel("processor time (ms)")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    with whole(path) as beside:
        figure.savefig(beside, format="png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder for scaling.md and scaling.png")
    arguments = parser.parse_args()
    warm_up()
    found = {name: list(sweep(arguments.repeat)) for name, (sweep, _) in SWEEPS.items()}
    text = page(found)
    print(text)
    if arguments.out is not None:
        write_texts(arguments.out, {"scaling.md": text})
        draw(found, arguments.out / "scaling.png")


if __name__ == "__main__":
    main()
