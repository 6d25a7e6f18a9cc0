"""The closed form of a learning sample, one sample after the other (compiled).

    z1 = x W1, h = [z1 > half];  z2 = h W2, o = [z2 > half]
    d2+ = [t > o] f'(z2), d2- = [t < o] f'(z2);  f'(z) = [0 < z <= edge]
    e+ = d2+ P + d2- M, and for the other sign e- = d2- P + d2+ M;  d1+ = [e+ > dead] f'(z1), d1- = [e- > dead] f'(z1)
    W2, P and M, then W1: + step where both ends of a positive error fire, then - step of a negative one, each clipped

P starts as W2^T and M as -W2^T, and each learns what its own spikes tell it; while no weight is at a limit, e+ = W2 d2
and e- = -W2 d2. ``after`` takes e+ from P and M once d2+ has changed them, and e- once d2- has, too.
"""

from __future__ import annotations

from eventsolve.compiled import compiled, without_refcount


@without_refcount
def summed(spikes, weights, sums):
    """Set sums to the rows of the weights whose spike is there, one after the other."""
    for j in range(sums.size):
        sums[j] = 0
    for i in range(spikes.size):
        if spikes[i]:
            for j in range(sums.size):
                sums[j] += weights[i, j]


@without_refcount
def learned(pre, post, weights, change, low, high):
    """Add to the weights between what fired on both sides, within the limits."""
    for i in range(pre.size):
        if pre[i]:
            for j in range(post.size):
                if post[j]:
                    weights[i, j] = min(max(weights[i, j] + change, low), high)


@without_refcount
def transported(one, other, plus, minus, sums):
    """Set sums to what arrives from two populations of errors."""
    for j in range(sums.size):
        sums[j] = 0
    for k in range(one.size):
        if one[k]:
            for j in range(sums.size):
                sums[j] += plus[k, j]
        if other[k]:
            for j in range(sums.size):
                sums[j] += minus[k, j]


@without_refcount
def flagged(sums, above, inside, flags):
    """Set a flag where a sum is above a number, of those inside."""
    for j in range(sums.size):
        flags[j] = inside[j] and sums[j] > above


@without_refcount
def any_of(flags):
    """Say whether there is a flag."""
    found = False
    for flag in flags:
        found |= flag
    return found


@without_refcount
def boxed(sums, numbers, inside):
    """Say where the derivative is not 0."""
    for j in range(sums.size):
        inside[j] = not numbers.box or (0 < sums[j] <= numbers.edge)


@without_refcount
def count_of(flags):
    """Return how many flags there are."""
    count = 0
    for flag in flags:
        count += flag
    return count


@without_refcount
def answered(x, t, w1, w2, numbers, flags, z1, z2):
    """Set what fires, where the derivatives are not 0, and the errors of the output."""
    h, inside1, _, _, inside2, up2, down2 = flags
    summed(x, w1, z1)
    boxed(z1, numbers, inside1)
    for j in range(h.size):
        h[j] = z1[j] > numbers.half
    summed(h, w2, z2)
    boxed(z2, numbers, inside2)
    for k in range(t.size):
        fired = z2[k] > numbers.half
        up2[k] = t[k] and not fired and inside2[k]
        down2[k] = fired and not t[k] and inside2[k]


@without_refcount
def counted(x, flags, counts):
    """Set how many spikes each population had."""
    h, _, up1, down1, _, up2, down2 = flags
    counts[0], counts[1], counts[2] = count_of(x), count_of(h), count_of(up2)
    counts[3], counts[4], counts[5] = count_of(down2), count_of(up1), count_of(down1)


@compiled
def learn(order, inputs, targets, matrices, numbers, flags, sums, answers, stop):
    """Learn the samples of an order, and change the matrices.

    ``flags`` are arrays for h, its box, d1+, d1- (hidden,), the box of the output, d2+, d2- (out,); ``sums`` for z1,
    e (hidden,).
    """
    h, inside1, up1, down1, _, up2, down2 = flags
    z1, e = sums
    w1, w2, plus, minus = matrices
    step, low, high = numbers.step, numbers.low, numbers.high
    for n in range(order.size):
        if stop[0]:
            return
        x, t, z2 = inputs[order[n]], targets[order[n]], answers.z2[n]
        answered(x, t, w1, w2, numbers, flags, z1, z2)
        for j in range(h.size):
            up1[j] = down1[j] = 0
        if any_of(up2) or any_of(down2):
            if not numbers.after:
                transported(up2, down2, plus, minus, e)
                flagged(e, numbers.dead, inside1, up1)
            learned(h, up2, w2, step, low, high)
            learned(up2, h, plus, step, low, high)
            learned(down2, h, minus, step, low, high)
            if numbers.after:
                transported(up2, down2, plus, minus, e)
                flagged(e, numbers.dead, inside1, up1)
            else:
                transported(down2, up2, plus, minus, e)
                flagged(e, numbers.dead, inside1, down1)
            learned(h, down2, w2, -step, low, high)
            learned(down2, h, plus, -step, low, high)
            learned(up2, h, minus, -step, low, high)
            if numbers.after:
                transported(down2, up2, plus, minus, e)
                flagged(e, numbers.dead, inside1, down1)
            if any_of(up1):
                learned(x, up1, w1, step, low, high)
            if any_of(down1):
                learned(x, down1, w1, -step, low, high)
        counted(x, flags, answers.counts[n])


@compiled
def learn_exactly(order, inputs, targets, matrices, numbers, rate, flags, sums, answers, stop):
    """Learn as :func:`learn`, with the error itself in place of its sign: W1 += rate x e f'(z1), in float64.

    ``plus`` and ``minus`` are not used: there is one W2. ``up1`` and ``down1`` only count the signs of e.
    """
    h, inside1, up1, down1, _, up2, down2 = flags
    z1, e = sums
    w1, w2 = matrices.w1, matrices.w2
    step, low, high = numbers.step, numbers.low, numbers.high
    for n in range(order.size):
        if stop[0]:
            return
        x, t, z2 = inputs[order[n]], targets[order[n]], answers.z2[n]
        answered(x, t, w1, w2, numbers, flags, z1, z2)
        for round_ in range(2):
            if (round_ == 1) == numbers.after:
                for j in range(h.size):
                    e[j] = 0
                    for k in range(t.size):
                        if up2[k]:
                            e[j] += w2[j, k]
                        if down2[k]:
                            e[j] -= w2[j, k]
                    if not inside1[j]:
                        e[j] = 0
            if round_ == 0:
                learned(h, up2, w2, step, low, high)
                learned(h, down2, w2, -step, low, high)
        for j in range(h.size):
            up1[j], down1[j] = e[j] > 0, e[j] < 0
        if any_of(up1) or any_of(down1):
            for i in range(x.size):
                if x[i]:
                    for j in range(h.size):
                        w1[i, j] = min(max(w1[i, j] + rate * e[j], low), high)
        counted(x, flags, answers.counts[n])


@compiled
def infer(inputs, w1, w2, half, h, z1, z2, stop):
    """Set z2 (n, out) to what the outputs sum up for each sample."""
    for n in range(inputs.shape[0]):
        if stop[0]:
            return
        summed(inputs[n], w1, z1)
        for j in range(h.size):
            h[j] = z1[j] > half
        summed(h, w2, z2[n])
