"""The compiled kernels: see README.md in this folder.

Loading the first of them loads OpenMP, which reads from the environment how its threads wait for the next loop, once.
As a rule they spin for milliseconds, and so do those of BLAS, each on the cores that the others need: between matrix
products a loss took 10 times as long as on one thread, and the products twice as long. So they are told to give up
after some 0.03 ms, enough for the next call of a loop of calls. Who has set one of the variables decides himself.
"""

import os

_WAIT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}  # the second is for GCC's alone

if not _WAIT.keys() & os.environ.keys():
    os.environ.update(_WAIT)
    try:
        from fastloss.kernels import machine

        machine.max_threads()  # some read it at the first call
    finally:
        for _name in _WAIT:
            del os.environ[_name]
