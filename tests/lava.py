"""Random programs beside Lava itself: ``python -m tests.lava PYTHON``, an interpreter that has lava-nc 0.10.0.

Lava needs Python 3.10 or older, so that it runs in a process of its own. Every u and v of recurrent networks with
delays, exponents, few bits and biases has to be equal.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

N_CASES, N_STEPS = 6, 30
LAVA = """
import sys
import numpy as np
from lava.proc.lif.process import LIF
from lava.proc.dense.process import DelayDense
from lava.proc.io.source import RingBuffer
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.run_conditions import RunSteps

if __name__ == "__main__":
    data, found, case = np.load(sys.argv[1]), {}, 0
    while f"{case}/x" in data.files:
        of = {key.split("/")[1]: data[key] for key in data.files if key.startswith(f"{case}/")}
        source = RingBuffer(data=of["x"].T.astype(np.int32))
        ff, rec = (
            DelayDense(weights=of[w], delays=of[w + "d"], max_delay=int(of[w + "d"].max()), weight_exp=int(of[w + "e"]),
                       num_weight_bits=int(of[w + "b"]))
            for w in ("ff", "rec")
        )
        names = ("du", "dv", "vth", "bias_mant", "bias_exp")
        lif = LIF(shape=of["du"].shape, **{name: of[name].astype(int) for name in names})
        source.s_out.connect(ff.s_in)
        ff.a_out.connect(lif.a_in)
        lif.s_out.connect(rec.s_in)
        rec.a_out.connect(lif.a_in)
        states = []
        for _ in range(len(of["x"])):
            lif.run(condition=RunSteps(num_steps=1), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
            states.append((lif.u.get().copy(), lif.v.get().copy()))
        lif.stop()
        found[str(case)] = np.array(states)
        case += 1
    np.savez(sys.argv[2], **found)
"""


def main(python):
    from validation.loihi2 import Dense, Layer, Program, run

    rng, cases, programs = np.random.default_rng(7), {}, []
    for case in range(N_CASES):
        n_in, n = rng.integers(2, 6, 2)
        matrices = {}
        for name, shape in (("ff", (n, n_in)), ("rec", (n, n))):
            weights = rng.integers(-300, 300, shape)
            sign = rng.choice([0, 0, 1, -1])
            matrices[name] = Dense(
                weights if sign == 0 else sign * np.abs(weights),
                rng.integers(0, 6, shape),
                int(rng.integers(-4, 4)),
                int(rng.integers(2, 9)),
            )
        neurons = {
            "du": rng.integers(0, 4096, n),
            "dv": rng.integers(0, 4097, n),
            "vth": rng.integers(1, 400, n),
            "bias_mant": rng.integers(-50, 50, n),
            "bias_exp": rng.integers(-3, 7, n),
        }
        sent = (rng.random((N_STEPS, n_in)) < 0.4).astype(int)
        programs.append((Program((Layer(**matrices, **neurons),)), sent))
        own = {"x": sent, **neurons}
        for name, m in matrices.items():
            own |= {
                name: m.weights,
                f"{name}d": m.delays,
                f"{name}e": m.weight_exp,
                f"{name}b": m.num_weight_bits,
            }
        cases |= {f"{case}/{key}": values for key, values in own.items()}
    with tempfile.TemporaryDirectory() as folder:
        script, given, got = (Path(folder) / name for name in ("script.py", "given.npz", "got.npz"))
        script.write_text(LAVA, encoding="utf-8")
        np.savez(given, **cases)
        subprocess.run([python, script, given, got], check=True)
        states = dict(np.load(got))
    wrong = total = 0
    for case, (program, sent) in enumerate(programs):
        found = run(program, sent)
        for k, mine in enumerate((found.u[0][0], found.v[0][0])):
            wrong += np.count_nonzero(states[str(case)][:, k] != mine)
            total += mine.size
    print(f"{wrong} of {total} states differ from Lava's, in {N_CASES} networks")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
