"""Arrays of pygenn and ml_genn, in the units and layouts of this repository: every convention of GeNN in one place.

GeNN's times are milliseconds, its weights and gradients (n_pre, n_post), and its gradients lack a factor that depends
on the readout. They are gradients, of which an optimizer goes against the direction.
"""

from __future__ import annotations

import numpy as np

from validation import conventions
from validation.genn.readouts import Name


def gradient_factor(readout: Name, *, tau_mem: float, time_step: float, t_end: float) -> float:
    """Return by what GeNN's ``Gradient`` has to be multiplied to be dL/dw; seconds.

    ``tau_mem`` is the readout's. Of "RelativeMSE" the loss is in s^2, of which mlGeNN's has a million times as many.
    """
    name = {"AvgVarExpWeight": "AvgVar", "RelativeMSE": "FirstSpikeTime"}.get(readout, readout)
    convention = conventions.of("mlGeNN", name)
    assert convention.gradient_factor is not None
    constants = conventions.Constants(tau_mem=tau_mem, time_step=time_step, t_end=t_end)
    factor = float(np.asarray(convention.gradient_factor(constants)))
    return factor * (1e-6 if readout == "RelativeMSE" else 1.0)
