r"""Networks from and to NIR, the Neuromorphic Intermediate Representation (Pedersen et al. 2024); the extra ``nir``.

NIR writes its neurons as ODEs driven by trains of Dirac pulses, S (``nir/ir/neuron.py``):

    CubaLIF, CubaLI:   tau_syn dI/dt = -I + w_in S,   tau_mem dv/dt = (v_leak - v) + r I
    LIF, LI:           tau dv/dt = (v_leak - v) + r S

so that a spike over a weight w adds r w_in w / tau_syn to what eventsolve calls the current, and r w / tau to the
voltage of neurons without one: a delta synapse. A constant input b, the bias of an Affine, adds to the leak: r w_in b,
towards which the current of a CubaLIF relaxes from 0, and r b. NIR leaves initial states open; here they are 0.
"""

from eventsolve.io.nir.reading import from_nir as from_nir
from eventsolve.io.nir.reading import read as read
from eventsolve.io.nir.writing import to_nir as to_nir
