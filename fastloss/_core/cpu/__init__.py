"""What the machine offers: CPU levels, cores and threads.

Importing this package loads OpenMP, which reads once from the environment how its threads wait for the next loop. By
default they spin for milliseconds, and so do the threads of BLAS: each team holds the cores that the other needs.
Between matrix products a loss then took 10 times as long as on one thread, and the products twice as long (two cores,
OpenBLAS). So fastloss asks for threads that sleep after about 0.03 ms, which is enough for the next call in a loop of
calls. If the user has set either variable, both are left alone.
"""

import os
from importlib.util import find_spec

if find_spec("fastloss._core.cpu.machine") is None:
    raise ImportError("fastloss is not built: run `python -m pip install -e .` in the source folder")

_WAIT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}  # only GCC's OpenMP reads the second

if not _WAIT.keys() & os.environ.keys():
    os.environ.update(_WAIT)
    try:
        from fastloss._core.cpu import machine

        machine.max_threads()  # some runtimes read the environment at the first call
    finally:
        for _name in _WAIT:
            del os.environ[_name]
