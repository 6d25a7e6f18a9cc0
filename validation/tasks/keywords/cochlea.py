"""Kernels: the cochlea, channel by channel (compiled)."""

from __future__ import annotations

import math

import numpy as np

from eventsolve.compiled import compiled


@compiled
def moved_membrane(sound, poles, gains):
    """Return the movement of the membrane at every channel, (n_channels, n): four complex one-pole filters in a row.

    Parameters
    ----------
    sound : ndarray of float64, (n,)
    poles : ndarray of complex128, (n_channels,)
    gains : ndarray of float64, (n_channels,)
        Of one filter.
    """
    moved = np.empty((poles.size, sound.size))
    for k in range(poles.size):
        pole, gain = poles[k], gains[k]
        first = second = third = fourth = 0j
        for n in range(sound.size):
            first = gain * sound[n] + pole * first
            second = gain * first + pole * second
            third = gain * second + pole * third
            fourth = gain * third + pole * fourth
            moved[k, n] = 2.0 * fourth.real
    return moved


@compiled
def released_vesicles(moved, rate):
    """Return the vesicles that one hair cell is expected to release in every sample, from rest, as ``moved`` is."""
    a, b, g = 5.0, 300.0, 2000.0
    y, loss, x, r, h = 5.05, 2500.0, 66.31, 6580.0, 50000.0
    dt = 1.0 / rate
    released = np.empty_like(moved)
    at_rest = g * a / (a + b)
    cleft = y * at_rest / (loss * at_rest + y * (loss + r))
    for channel in range(moved.shape[0]):
        q, c, w = cleft * (loss + r) / at_rest, cleft, cleft * r / x
        for n in range(moved.shape[1]):
            s = moved[channel, n] + a
            out = g * s / (s + b) * q if s > 0.0 else 0.0
            back = x * w
            q, c, w = (
                q + dt * (y * (1.0 - q) + back - out),
                c + dt * (out - (loss + r) * c),
                w + dt * (r * c - back),
            )
            released[channel, n] = h * c * dt
    return released


@compiled
def fired_cells(released, hair_cells, random, kept_v, kept_i, weight, held):
    """Return in which samples each channel's bushy cell spikes, as 1 in an array like ``released``.

    Parameters
    ----------
    released : ndarray of float64, (n_channels, n)
        Expected vesicles of one hair cell in every sample.
    hair_cells : int
        That a bushy cell hears; together they release a number of vesicles that is Poisson's, drawn by inversion.
    random : numpy.random.Generator
    kept_v, kept_i : float
        What is left of V and I after a sample.
    weight : float
        Of a vesicle.
    held : int
        Samples of the refractory period.
    """
    fired = np.zeros(released.shape, np.uint8)
    for channel in range(released.shape[0]):
        v = i = 0.0
        free_from = 0
        for n in range(released.shape[1]):
            expected = hair_cells * released[channel, n]
            chosen, share, heard = random.random(), math.exp(-expected), 0
            while chosen > share and heard < 64:
                chosen -= share
                heard += 1
                share *= expected / heard
            i = i * kept_i + weight * heard
            v = v * kept_v + i * (1.0 - kept_v) if n >= free_from else 0.0
            if v > 1.0:
                v = 0.0
                free_from = n + held
                fired[channel, n] = 1
    return fired
