"""Kernel: the adjoint of one population, backwards through its recorded spikes (compiled).

p_V = dL/dV and p_I = dL/dI run backwards from 0 at t_end. Between events the state is linear in its start,
u(h) = u exp(-a) + i K, i(h) = i exp(-b), so the adjoint is the transposed propagator, and the derivative for
a parameter is that of the propagator: the integrals of Wunderlich & Pehle (2021), done. At events:

    arrival of weight w     dL/dw += p_I,  dL/dt = w (p_I/tau_syn - p_V/tau_mem) to the spike that caused it
    and its delay spike, V' = slope       e = cotangent - p_V slope_right;  p_V := -e/slope_left end of a
    refractory     p_V slope_right goes to the spike and to t_ref;  p_V := 0
"""

from __future__ import annotations

import numpy as np

from eventsolve.compiled import compiled
from eventsolve.layered import (
    ARRIVAL,
    PROBE,
    RELEASE,
    SPIKE,
    group_by,
    replay,
    schedule_of,
    segments_for,
)
from eventsolve.membrane import propagator_derivatives


@compiled
def march_back(
    neurons,
    afferents,
    cohorts,
    n_sources,
    spikes,
    own,
    cotangents,
    probes,
    t_end,
    per_sample,
    n_neurons,
    n_synapses,
):
    """Return the gradients that one population contributes.

    Parameters
    ----------
    spikes, own : Spikes
        Of the sources, numbered through, and of the population itself.
    cotangents : (n_own,)
        dL/dt of every own spike from the loss and from everything downstream.
    probes : Probes
        Where a loss reads the voltage of a readout.
    per_sample : bool
        One row of gradients for each sample, or a single one for their sum, added in the order of the samples.

    Returns
    -------
    errors : (n_spikes,)
        dL/dt of every source spike through this population.
    totals : (n_own,)
        e = dL/dt of every own spike, with everything that the spike changes.
    d_weight, d_delay : (n_rows, n_synapses)
    d_parameters : (n_rows, 6, n)
        tau_mem, tau_syn, v_threshold, v_reset, v_leak, t_ref.
    grazing : int
        The first own spike with an error whose slope is not positive, where no gradient exists; -1 if there is none.
    """
    n_samples = spikes.offsets.size - 1
    n_rows = n_samples if per_sample else 1
    errors = np.zeros(spikes.times.size)
    totals = np.zeros(own.times.size)
    d_weight = np.zeros((n_rows, n_synapses))
    d_delay = np.zeros((n_rows, n_synapses))
    d_parameters = np.zeros((n_rows, 6, n_neurons))
    grazing = -1
    life = segments_for(256)
    for sample in range(n_samples):
        row = sample if per_sample else 0
        by_source, places = group_by(
            spikes.neurons, spikes.offsets[sample], spikes.offsets[sample + 1], n_sources
        )
        by_neuron, own_places = group_by(own.neurons, own.offsets[sample], own.offsets[sample + 1], n_neurons)
        by_reader, probe_places = group_by(
            probes.neurons, probes.offsets[sample], probes.offsets[sample + 1], n_neurons
        )
        for cohort in range(cohorts.offsets.size - 1):
            scheduled = False
            for member in range(cohorts.offsets[cohort], cohorts.offsets[cohort + 1]):
                neuron = cohorts.members[member]
                n_own = by_neuron[neuron + 1] - by_neuron[neuron]
                while n_own > 0 and cotangents[own_places[by_neuron[neuron] + n_own - 1]] == 0.0:
                    n_own -= 1
                reads = probe_places[by_reader[neuron] : by_reader[neuron + 1]]
                if n_own == 0 and reads.size == 0:
                    continue
                if not scheduled:
                    schedule = schedule_of(
                        cohorts.members[cohorts.offsets[cohort]],
                        neurons,
                        afferents,
                        spikes.times,
                        by_source,
                        places,
                        t_end,
                    )
                    scheduled = True
                # nothing after the last spike with a cotangent can change the loss
                mine = own_places[by_neuron[neuron] : by_neuron[neuron] + n_own]
                n_arrivals = schedule.times.size
                t_last = t_end
                if reads.size == 0:
                    n_arrivals = own.arrivals[mine[-1]]
                    t_last = own.times[mine[-1]]
                room = n_arrivals + 2 * n_own + reads.size + 1
                if room > life.start.size:
                    life = segments_for(2 * room)
                n_segments = replay(
                    neuron,
                    neurons,
                    afferents,
                    schedule,
                    n_arrivals,
                    own.times[mine],
                    own.arrivals[mine],
                    probes.times[reads],
                    probes.arrival[reads],
                    t_last,
                    life,
                )
                tau_mem, tau_syn = neurons.tau_mem[neuron], neurons.tau_syn[neuron]
                v_leak = neurons.v_leak[neuron]
                c = neurons.v_threshold[neuron] - v_leak
                u_reset = neurons.v_reset[neuron] - v_leak
                t_ref = neurons.t_ref[neuron]
                synapses = afferents.offsets[neuron]
                p_v = 0.0
                p_i = 0.0
                released = 0.0
                d_tau_mem = 0.0
                d_tau_syn = 0.0
                d_threshold = 0.0
                d_reset = 0.0
                d_leak = 0.0
                d_ref = 0.0
                for g in range(n_segments - 1, -1, -1):
                    u, i, h = life.u[g], life.i[g], life.duration[g]
                    ea, eb, k = life.decay_mem[g], life.decay_syn[g], life.response[g]
                    ending = life.ending[g]
                    which = life.which[g]
                    if ending == ARRIVAL:
                        if p_i != 0.0 or p_v != 0.0:
                            synapse = synapses + schedule.slots[which]
                            error = afferents.weight[synapse] * (p_i / tau_syn - p_v / tau_mem)
                            d_weight[row, synapse] += p_i
                            d_delay[row, synapse] += error
                            errors[schedule.spikes[which]] += error
                    elif ending == SPIKE:
                        current = i * eb
                        slope_left = (current - c) / tau_mem
                        spike = mine[which]
                        error = cotangents[spike]
                        if t_ref > 0.0:
                            error -= released
                            released = 0.0
                        else:
                            after = p_v * (current - u_reset) / tau_mem
                            error -= after
                            d_ref -= after
                            d_reset += p_v
                        totals[spike] = error
                        p_v = 0.0
                        if error != 0.0:
                            if slope_left > 0.0:
                                p_v = -error / slope_left
                                d_threshold -= p_v
                            elif grazing < 0 or spike < grazing:
                                grazing = spike
                    elif ending == RELEASE:
                        released = p_v * (i * eb - u_reset) / tau_mem
                        d_ref -= released
                        d_reset += p_v
                        p_v = 0.0
                    elif ending == PROBE:
                        read = reads[which]
                        p_v += probes.cotangents[read]
                        riding = probes.arrival[read]
                        if riding >= 0:
                            u_end = u * ea + i * k
                            error = probes.cotangents[read] * (i * eb - u_end) / tau_mem
                            d_delay[row, synapses + schedule.slots[riding]] += error
                            errors[schedule.spikes[riding]] += error
                    if p_i == 0.0 and p_v == 0.0:
                        continue
                    d_tau_syn += p_i * i * eb * h / (tau_syn * tau_syn)
                    p_i *= eb
                    if not life.held[g]:
                        k_mem, k_syn = propagator_derivatives(h, tau_mem, tau_syn, ea, eb, k)
                        d_tau_mem += p_v * (u * ea * h / (tau_mem * tau_mem) + i * k_mem)
                        d_tau_syn += p_v * i * k_syn
                        d_leak += p_v * (1.0 - ea)
                        p_i += p_v * k
                        p_v *= ea
                d_parameters[row, 0, neuron] += d_tau_mem
                d_parameters[row, 1, neuron] += d_tau_syn
                d_parameters[row, 2, neuron] += d_threshold
                d_parameters[row, 3, neuron] += d_reset
                d_parameters[row, 4, neuron] += d_leak
                d_parameters[row, 5, neuron] += d_ref
    return errors, totals, d_weight, d_delay, d_parameters, grazing
