"""genn_eventprop's EventProp in plain Python and float64, from the equations of its models, one trial by itself.

Every neuron is a row of numbers, and every spike a tuple; milliseconds. ``populations`` maps names to constants, None
for inputs, ``projections`` is a list of (key, pre, post, weights (n_post, n_pre)), ``sent`` the steps in which each
input neuron spikes.
"""

import math

import numpy as np


def forward(populations, projections, sizes, sent, dt, n_steps):
    """Return V before and after every step of each population, and the spikes (population, neuron, step, I - V)."""
    current = {key: [0.0] * sizes[post] for key, _, post, _ in projections}
    v = {name: list(c["v_initial"]) for name, c in populations.items() if c}
    before, after = {name: [] for name in v}, {name: [] for name in v}
    spikes, last = [], []
    for n in range(n_steps):
        if n == n_steps - 1:
            current = {key: [0.0] * len(row) for key, row in current.items()}
        for name, j in last:
            for key, pre, _, w in projections:
                if pre == name:
                    current[key] = [i + w[k][j] for k, i in enumerate(current[key])]
        last = [(name, j) for name, trains in sent.items() for j, steps in enumerate(trains) if n in steps]
        for name, row in v.items():
            c = populations[name]
            a, b = math.exp(-dt / c["tau_mem"]), math.exp(-dt / c["tau_syn"])
            before[name].append(list(row))
            for j in range(sizes[name]):
                i = sum(current[key][j] for key, _, post, _ in projections if post == name)
                if c["tau_mem"] == c["tau_syn"]:
                    row[j] = (dt / c["tau_mem"] * i + row[j]) * a
                else:
                    row[j] = c["tau_syn"] / (c["tau_mem"] - c["tau_syn"]) * i * (a - b) + row[j] * a
                if "theta" in c and row[j] >= c["theta"]:
                    spikes.append((name, j, n, i - row[j]))
                    last.append((name, j))
                    row[j] = 0.0
            after[name].append(list(row))
            for key, _, post, _ in projections:
                if post == name:
                    current[key] = [i * b for i in current[key]]
    return before, after, spikes


def weights(kind, x, activity):
    """Return the weights of the summed voltages at t/T = x, or those of the input activity."""
    if kind == "input":
        return activity
    named = {
        "sum": lambda x: 1.0,
        "exponential": lambda x: math.exp(-x),
        "linear": lambda x: 1.0 - x,
        "sigmoid": lambda x: 1.0 / (1.0 + math.exp((x - 0.5) / 0.2)),
    }
    return [named[kind](value) for value in x]


def accumulated(sent, dt, n_steps, tau):
    """Return what the accumulator of all inputs tells the readouts in each step."""
    told, v, arriving = [], 0.0, 0
    for n in range(n_steps):
        told.append(v)
        v += (0.01 * arriving - v) * dt / tau
        arriving = sum(n in steps for trains in sent.values() for steps in trains)
    return told


def softmax(m):
    share = np.exp(np.array(m) - max(m))
    return (share / share.sum()).tolist()


def trial(populations, projections, sizes, sent, loss, label, dt, n_steps, reg=(0.0, 0.0, 0.0)):
    """Return the spikes and the gradients, (n_post, n_pre) by projection, as GeNN's dw are.

    ``loss`` is a dict: its "kind", the "population" that it reads, and its constants.
    """
    before, after, spikes = forward(populations, projections, sizes, sent, dt, n_steps)
    name, kind, trial_t = loss["population"], loss["kind"], n_steps * dt
    n_out, c = sizes[name], populations[loss["population"]]
    drive, kick, jump = np.zeros((n_steps, n_out)), {}, {}
    hot = [float(j == label) for j in range(n_out)]
    x = [n / n_steps for n in range(n_steps)]
    if kind in ("sum", "exponential", "linear", "sigmoid", "input"):
        activity = accumulated(sent, dt, n_steps, loss["tau"]) if kind == "input" else None
        w = weights(kind, x, activity)
        m = [sum(w[n] * before[name][n][j] / trial_t * dt for n in range(n_steps)) for j in range(n_out)]
        p = softmax(m)
        back = weights(kind, [(n + 1) / n_steps for n in range(n_steps)], activity)
        for n in range(n_steps):
            drive[n] = [back[n] * (hot[j] - p[j]) / (c["tau_mem"] * trial_t) for j in range(n_out)]
    elif kind == "avg_xentropy":
        for n in range(n_steps):
            p = softmax(after[name][n])
            drive[n] = [(hot[j] - p[j]) / (c["tau_mem"] * trial_t) for j in range(n_out)]
    elif kind == "max":
        m, at = [0.0] * n_out, [None] * n_out
        for n in range(n_steps):
            for j in range(n_out):
                if before[name][n][j] > m[j]:
                    m[j], at[j] = before[name][n][j], n
        p = softmax(m)
        for j in range(n_out):
            if at[j] is not None:
                kick.setdefault(at[j], []).append((j, (hot[j] - p[j]) / (c["tau_mem"] * trial_t)))
    else:
        first = [
            min((n for of, k, n, _ in spikes if of == name and k == j), default=None) for j in range(n_out)
        ]
        t = [trial_t + 1.0 if n is None else n * dt for n in first]
        p = softmax([-time / loss["tau0"] for time in t])

        def early(time):
            if kind == "first_spike_exp":
                return loss["alpha"] / loss["tau1"] * math.exp(time / loss["tau1"])
            return loss["alpha"] / (1.01 * trial_t - time) ** 2

        for j in range(n_out):
            own = (1.0 - p[j]) / loss["tau0"] + early(t[j]) if j == label else -p[j] / loss["tau0"]
            jump[j, first[j]] = own
        if first[label] is None:  # the phantom spike, in the second step backwards
            kick[n_steps - 2] = [(label, early(trial_t))]
    # what is never met, from the last step on, keeps all spikes before from being met
    deaf = {(of, j) for of, j, n, _ in spikes if n == n_steps - 1}
    counts = {}
    for of, j, *_ in spikes:
        counts[of, j] = counts.get((of, j), 0) + 1
    upper, lower, nu = reg
    lv = {of: np.zeros(sizes[of]) for of in before}
    li = {of: np.zeros(sizes[of]) for of in before}
    gradient = {key: np.zeros((sizes[post], sizes[pre])) for key, pre, post, _ in projections}
    for n in range(n_steps - 1, -1, -1):
        met = [s for s in spikes if s[2] == n and s[:2] not in deaf]
        rev = {}
        for of, j in [s[:2] for s in met] + [
            (of, j) for of, trains in sent.items() for j, steps in enumerate(trains) if n in steps
        ]:
            for key, pre, post, w in projections:
                if pre == of:
                    tau_syn = populations[post]["tau_syn"]
                    gradient[key][:, j] -= tau_syn * li[post]
                    rev[of, j] = rev.get((of, j), 0.0) + float(np.array(w)[:, j] @ (lv[post] - li[post]))
        for of in lv:
            k = populations[of]
            a, b = math.exp(-dt / k["tau_mem"]), math.exp(-dt / k["tau_syn"])
            d = drive[n] if of == name else np.zeros(sizes[of])
            if k["tau_mem"] == k["tau_syn"]:
                li[of] = d + (dt / k["tau_syn"] * (lv[of] - d) + (li[of] - d)) * b
            else:
                share = k["tau_mem"] / (k["tau_mem"] - k["tau_syn"])
                li[of] = d + (li[of] - d) * b + share * (lv[of] - d) * (a - b)
            lv[of] = d + (lv[of] - d) * a
        for j, size in kick.get(n, []):
            lv[name][j] += size
        for of, j, _, slope in met:
            lv[of][j] += (populations[of]["theta"] * lv[of][j] + rev.get((of, j), 0.0)) / slope
            if of == name and (j, n) in jump:
                lv[of][j] += jump[j, n] / slope
            elif of != name:
                excess = counts[of, j] - nu
                lv[of][j] -= (upper if excess > 0 else lower) * excess
    return spikes, gradient
