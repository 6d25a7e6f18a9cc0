"""Loihi 2's step in Python's integers, neuron by neuron: the twin of the kernel, which shares nothing with it.

``mistakes`` are those that one may make, each by name; :data:`MISTAKES` lists them.
"""

MISTAKES = (
    "decay towards minus infinity",
    "fires at the threshold",
    "u saturates",
    "u as two's complement",
    "no one added to du",
    "one added to dv",
    "shift before the sum",
    "shift after all delays",
    "shift towards zero",
    "weights cut towards zero",
    "odd weights kept",
    "v before u",
    "v wraps",
    "u reset by a spike",
    "reset by subtraction",
    "no wait of one step",
    "bias enters u",
    "bias shifted towards zero",
    "reset after the input",
    "reset a step late",
)


def rtz(x, k, mistakes=()):
    if "decay towards minus infinity" in mistakes:
        return x >> k
    return x >> k if x >= 0 else -(-x >> k)


def held(matrix, mistakes=()):
    """The weights that remain, as nested lists."""
    rows = [[int(w) for w in row] for row in matrix.weights]
    flat = [w for row in rows for w in row]
    mode = matrix.sign_mode or (
        "excitatory" if min(flat) >= 0 else "inhibitory" if max(flat) <= 0 else "mixed"
    )
    mixed, sign = mode == "mixed", -1 if mode == "inhibitory" else 1
    cut = 8 - matrix.num_weight_bits + mixed
    if "odd weights kept" in mistakes:
        cut = max(cut - 1, 0)

    def one(w):
        w = min(max(sign * w, -256 if mixed else 0), 255)
        return sign * (rtz(w, cut) << cut if "weights cut towards zero" in mistakes else w >> cut << cut)

    return [[one(w) for w in row] for row in rows]


def arrivals(matrix, weights, sent, mistakes):
    """What the spikes of a step (payloads by source) bring, by target: {delay: amount}."""
    up, found = matrix.weight_exp, []

    def shifted(y):
        if up >= 0:
            return y << up
        return rtz(y, -up) if "shift towards zero" in mistakes else y >> -up

    for i, row in enumerate(weights):
        by_delay = {}
        for j, payload in enumerate(sent):
            if payload:
                d = int(matrix.delays[i, j])
                part = row[j] * payload
                by_delay[d] = by_delay.get(d, 0) + (
                    shifted(part) if "shift before the sum" in mistakes else part
                )
        if "shift before the sum" not in mistakes and "shift after all delays" not in mistakes:
            by_delay = {d: shifted(y) for d, y in by_delay.items()}
        found.append(by_delay)
    return found


def one_turn(u, mistakes):
    edge = 1 << 23
    if "u saturates" in mistakes:
        return min(max(u, 1 - edge), edge)
    if "u as two's complement" in mistakes:
        return u - 2 * edge if u >= edge else u + 2 * edge if u < -edge else u
    return u - 2 * edge if u > edge else u + 2 * edge if u <= -edge else u


def run(program, inputs, mistakes=()):
    """Return (u, v, s) of every layer, as nested lists by row, for inputs (n_rows, n_inputs)."""
    layers, edge = program.layers, 1 << 23
    wait = 0 if "no wait of one step" in mistakes else 1
    us = [[int(x) for x in layer.u0] for layer in layers]
    vs = [[int(x) for x in layer.v0] for layer in layers]
    matrices = [[(m, held(m, mistakes)) for m in layer.matrices] for layer in layers]
    coming = [[{} for _ in range(layer.size)] for layer in layers]  # by neuron: {row: amount}
    found = [([], [], []) for _ in layers]

    def send(k, which, sent, row):
        matrix, weights = matrices[k][which]
        for i, by_delay in enumerate(arrivals(matrix, weights, sent, mistakes)):
            for d, amount in by_delay.items():
                place = coming[k][i]
                place.setdefault(row + wait + d, []).append((which, amount))

    def total(k, i, row):
        amounts = coming[k][i].pop(row, [])
        if "shift after all delays" not in mistakes:
            return sum(amount for _, amount in amounts)
        whole = 0
        for which, (matrix, _) in enumerate(matrices[k]):
            y = sum(amount for w, amount in amounts if w == which)
            whole += y << matrix.weight_exp if matrix.weight_exp >= 0 else y >> -matrix.weight_exp
        return whole

    for row, given in enumerate(inputs):
        graded = layers[0].ff.num_message_bits > 0
        sent = [[int(x) if graded else int(x != 0) for x in given]]
        if not wait:
            send(0, 0, sent[0], row)
        for k, layer in enumerate(layers):
            late = "reset a step late" in mistakes
            due = layer.reset_interval and (row + 1 - late) % layer.reset_interval == (
                layer.reset_offset % layer.reset_interval
            )
            u, v, s = us[k], vs[k], [0] * layer.size
            for i in range(layer.size):
                mant, exp = int(layer.bias_mant[i]), int(layer.bias_exp[i])
                bias = mant << exp if exp >= 0 else mant >> -exp
                if "bias shifted towards zero" in mistakes and exp < 0:
                    bias = rtz(mant, -exp)
                if due and "reset after the input" not in mistakes:
                    u[i] = v[i] = 0
                before = u[i]
                keep = 4096 - int(layer.du[i]) - ("no one added to du" not in mistakes)
                u[i] = rtz(u[i] * keep, 12, mistakes) + (total(k, i, row) << 6)
                if "bias enters u" in mistakes:
                    u[i], bias = u[i] + bias, 0
                u[i] = one_turn(u[i], mistakes)
                if due and "reset after the input" in mistakes:
                    u[i] = v[i] = 0
                drive = before if "v before u" in mistakes else u[i]
                keep = 4096 - int(layer.dv[i]) - ("one added to dv" in mistakes)
                x = rtz(v[i] * keep, 12, mistakes) + drive + bias
                x = one_turn(x, ()) if "v wraps" in mistakes else min(max(x, 1 - edge), edge - 1)
                limit = int(layer.vth[i]) << 6
                s[i] = int(x >= limit if "fires at the threshold" in mistakes else x > limit)
                v[i] = x if not s[i] else x - limit if "reset by subtraction" in mistakes else 0
                if s[i] and "u reset by a spike" in mistakes:
                    u[i] = 0
            sent.append(s)
            if not wait and k + 1 < len(layers):
                send(k + 1, 0, s, row)
            for kept, values in zip(found[k], (u, v, s), strict=True):
                kept.append(list(values))
        for k, layer in enumerate(layers):
            if wait:
                send(k, 0, sent[k], row)
            if layer.rec is not None:
                # without the wait of one step a neuron's own spike comes in the next one at the earliest
                send(k, 1, sent[k + 1], row if wait else row + 1)
    return found
