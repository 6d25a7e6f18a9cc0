"""Spiking backpropagation written out plainly: the closed form with lists, the circuit with sets and dictionaries.

The circuit is read off the phase table of the publication's program once more, phase by phase, and shares nothing with
``validation.sbp``: a twin in which a table was mistyped would differ.
"""

from collections import defaultdict

HALF, FULL = 512, 1024


def clip(value, low, high):
    return max(low, min(high, value))


def closed_form(w1, w2, plus, minus, x, t, *, read="before", edge=FULL, low=-256, high=254, error=None):
    """Learn one sample, in place; matrices are lists of rows. With ``error`` a rate, W1 learns by the error itself."""
    n_hid, n_out = len(w2), len(w2[0])

    def inside(z):
        return 0 < z <= edge

    z1 = [sum(w1[i][j] for i in range(len(x)) if x[i]) for j in range(n_hid)]
    h = [z > HALF for z in z1]
    z2 = [sum(w2[j][k] for j in range(n_hid) if h[j]) for k in range(n_out)]
    d2 = [(int(t[k]) - (z2[k] > HALF)) * inside(z2[k]) for k in range(n_out)]

    def learn_w2(sign):
        for k in range(n_out):
            for j in range(n_hid):
                if not h[j]:
                    continue
                if d2[k] == sign:
                    w2[j][k] = clip(w2[j][k] + 2 * sign, low, high)
                    plus[k][j] = clip(plus[k][j] + 2 * sign, low, high)
                if d2[k] == -sign:
                    minus[k][j] = clip(minus[k][j] + 2 * sign, low, high)

    def learn_w1(d1):
        for i in range(len(x)):
            for j in range(n_hid):
                if x[i] and d1[j]:
                    w1[i][j] = clip(w1[i][j] + d1[j], low, high)

    def transported():
        """What the rows of +W2^T and -W2^T sum up to: of positive errors, and of negative ones."""
        both = []
        for sign in (1, -1):
            both.append(
                [
                    sum(plus[k][j] for k in range(n_out) if d2[k] == sign)
                    + sum(minus[k][j] for k in range(n_out) if d2[k] == -sign)
                    for j in range(n_hid)
                ]
            )
        return both

    if error is not None:
        if read == "after":
            learn_w2(1), learn_w2(-1)
        e = [0.0] * n_hid
        for j in range(n_hid):
            for k in range(n_out):
                e[j] += d2[k] * w2[j][k]
            e[j] *= inside(z1[j])
        if read == "before":
            learn_w2(1), learn_w2(-1)
        learn_w1([error * value for value in e])
        return z2
    for sign in (1, -1):
        e = transported()[0 if sign == 1 else 1]
        learn_w2(sign)
        if read == "after":
            e = transported()[0 if sign == 1 else 1]
        learn_w1([2 * sign * (e[j] > 0 and inside(z1[j])) for j in range(n_hid)])
    return z2


PAUSES = {"hT": 1}
PHASES = {
    0: {"o": -8128, "o_lo": -8128, "o_hi": -8128},
    1: {"x": 8704},
    2: {"h": 8704, "h_lo": 8704 + 512, "h_hi": 8192},
    3: {"o": 8704, "o_lo": 8704 + 512, "o_hi": 8192, "t": 8704, "m_h": 8704},
    4: {"hT": -8128, "oTm": -8128},
    5: {"h": 8704, "hT": 8704, "o": 8704, "o_lo": 8704, "o_hi": 8704, "oTm": 8704},
    6: {"hT": 8704 + 512, "m_x": 8704, "c_h": 8704, "o": -8128, "o_lo": -8128, "o_hi": -8128},
    7: {"x": 8704},
    8: {"h": -8128, "h_lo": -8128, "h_hi": -8128},
    9: {"h": 8704, "hT": 8704, "o": 8704, "o_lo": 8704, "o_hi": 8704, "oTm": 8704},
    10: {"hT": 8704 + 512, "o": -8128, "o_lo": -8128, "o_hi": -8128},
    11: {"x": 8704},
}
WIRES = """
x m_x 520 4; h m_h 520 0; o_lo dp 8704 0; o_lo dm 8704 0; o_hi dm -520 0; o dm 520 0; t dm -520 0; t dp 520 0;
o dp -520 0; dp o 520 0; dp o_lo 520 0; dp o_hi 520 0; dm o 520 4; dm o_lo 520 4; dm o_hi 520 4; dm oTm 520 0;
dp oTm 520 4; m_h h 520 1; m_h hT 520 1; m_h h 520 5; m_h hT 520 5; hT h 520 0; hT h_lo 520 0; hT h_hi 520 0;
m_x x 520 0; m_x x 520 4; h_lo c_h 520 3; h_hi c_h -520 3; c_h h 8704 0; c_h h_lo 8704 0; c_h h_hi 8704 0;
c_h h 8704 4; c_h h_lo 8704 4; c_h h_hi 8704 4
"""
PLASTIC = ("x->h", "x->h_lo", "x->h_hi", "h->o", "h->o_lo", "h->o_hi", "o->hT", "oTm->hT")


class Circuit:
    """The twelve phases; ``weights`` are lists of rows by projection, and change in place."""

    def __init__(self, sizes, weights, *, read="before", low=-256, high=254):
        n_in, n_hid, n_out = sizes
        self.size = dict.fromkeys(("x", "m_x"), n_in)
        self.size |= dict.fromkeys(("h", "h_lo", "h_hi", "m_h", "c_h", "hT"), n_hid)
        self.size |= dict.fromkeys(("o", "o_lo", "o_hi", "oTm", "t", "dm", "dp"), n_out)
        self.weights, self.read, self.low, self.high = weights, read, low, high
        self.now, self.arrivals, self.last = 0, defaultdict(int), {}

    def trial(self, x, t):
        """Return the spikes of each phase: {phase: {population: set of neurons}}."""
        found = {}
        for phase in (*range(1, 12), 0):
            found[phase] = self.step(phase, x, t)
        return found

    def step(self, phase, x, t):
        if phase in (1, 3):
            name, values = ("x", x) if phase == 1 else ("t", t)
            for i, value in enumerate(values):
                self.arrivals[self.now, name, i] += 520 * int(value)
        fired = {name: set() for name in self.size}
        for name, n in self.size.items():
            for i in range(n):
                v = self.arrivals.pop((self.now, name, i), 0) - 8192 + PHASES[phase].get(name, 0)
                if v > 1024 and self.now - self.last.get((name, i), -9) >= PAUSES.get(name, 2):
                    fired[name].add(i)
                    self.last[name, i] = self.now
        for wire in WIRES.split(";"):
            pre, post, weight, delay = wire.split()
            for i in fired[pre]:
                self.arrivals[self.now + 1 + int(delay), post, i] += int(weight)
        for name in PLASTIC:
            pre, post = name.split("->")
            rows = self.weights[name]
            old = {(i, j): rows[i][j] for i in fired[pre] for j in range(self.size[post])}
            for i in fired[pre]:
                for j in fired[post]:
                    rows[i][j] = clip(rows[i][j] + (2 if phase in (5, 7) else -2), self.low, self.high)
            for i, j in old:
                weight = old[i, j] if self.read == "before" else rows[i][j]
                self.arrivals[self.now + 1, post, j] += weight
        self.now += 1
        return fired
