"""From a sound to spikes of 700 cochlear channels, in the manner of the Spiking Heidelberg Digits.

Cramer, Stradmann, Schemmel & Zenke (2022) follow the ear: basilar membrane, inner hair cells, bushy cells. So does
this, with published parts: a bank of gammatone filters (Hohmann 2002: four complex one-pole filters in a row), even on
the scale of equivalent rectangular bandwidths (Glasberg & Moore 1990); the transmitter pools of an inner hair cell
(Meddis 1986, with the constants of 1990); and one bushy cell per channel, a LIF neuron that hears the vesicles of
several hair cells, drawn at random, and so answers only where many are released together.

    k = g (s + A) / (s + A + B) where s + A > 0, else 0          permeability of the membrane
    q' = y (m - q) + x w - k q        free transmitter           c' = k q - (l + r) c        cleft
    w' = r c - x w                    being reprocessed          rate of vesicles = h c
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eventsolve.interrupts import interruptible
from eventsolve.typing import Integers, Reals
from validation.tasks.keywords.cochlea import fired_cells, moved_membrane, released_vesicles

N_CHANNELS = 700


@dataclass(frozen=True)
class Ear:
    """The constants; the defaults give about as many spikes as the Spiking Heidelberg Digits have, 8000 a recording.

    Attributes
    ----------
    low, high : float
        Hz, of the first and the last channel.
    level : float
        dB: root mean square of a sound's loud half, in the scale in which an amplitude of 1 is 30 dB (Meddis 1986).
    emphasis : float
        Of high frequencies, as by the middle ear: this much of the sample before is taken away from every one.
    hair_cells : int
        That one bushy cell hears.
    weight : float
        By which one vesicle lifts the current of a bushy cell, in units of its threshold.
    tau_mem, tau_syn, t_ref : float
        Of bushy cells, seconds.
    """

    low: float = 80.0
    high: float = 8000.0
    level: float = 83.0
    emphasis: float = 0.97
    hair_cells: int = 40
    weight: float = 0.27
    tau_mem: float = 1e-3
    tau_syn: float = 0.5e-3
    t_ref: float = 2e-3


def centre_frequencies(ear: Ear) -> Reals:
    """Return the frequencies of the channels in Hz, ascending, (700,)."""
    low, high = (21.4 * np.log10(1.0 + 4.37e-3 * f) for f in (ear.low, ear.high))
    scale: Reals = (10.0 ** (np.linspace(low, high, N_CHANNELS) / 21.4) - 1.0) / 4.37e-3
    return scale


def spikes_of(sound: Reals, rate: float, seed: int, ear: Ear | None = None) -> tuple[Reals, Integers]:
    """Return the spikes of a sound.

    Parameters
    ----------
    sound : ndarray of float64, (n,)
        In any unit: its level is set.
    rate : float
        Samples per second.
    seed : int
        Of the release of vesicles.
    ear : Ear, optional

    Returns
    -------
    times : ndarray of float64, (n_spikes,)
        Seconds from the first sample on, ascending.
    channels : ndarray of int64, (n_spikes,)

    Raises
    ------
    ValueError
        If the sound is silent.
    """
    ear = ear or Ear()
    heard = np.append(sound[:1], sound[1:] - ear.emphasis * sound[:-1])
    power = np.sort(heard**2)[sound.size // 2 :]
    if not power.size or not power.mean() > 0.0:
        raise ValueError("sound must not be silent")
    scaled = heard * (10.0 ** ((ear.level - 30.0) / 20.0) / np.sqrt(power.mean()))
    bandwidth = 24.7 * (1.0 + 4.37e-3 * centre_frequencies(ear))
    decay = np.exp(-2.0 * np.pi * 1.019 * bandwidth / rate)
    poles = decay * np.exp(2j * np.pi * centre_frequencies(ear) / rate)
    kept_v, kept_i = (math.exp(-1.0 / (rate * tau)) for tau in (ear.tau_mem, ear.tau_syn))

    def hear() -> NDArray[np.uint8]:
        released = released_vesicles(moved_membrane(scaled, poles, 1.0 - decay), rate)
        random, held = np.random.default_rng(seed), round(ear.t_ref * rate)
        fired: NDArray[np.uint8] = fired_cells(
            released, ear.hair_cells, random, kept_v, kept_i, ear.weight, held
        )
        return fired

    fired = interruptible(hear)  # kernels of a moment, which nothing stops
    steps, channels = np.nonzero(fired.T)
    return steps / rate, channels
