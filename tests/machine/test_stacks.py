"""Threads with small stacks run every loss."""

from pathlib import Path

from .processes import python

CODE = """
import numpy as np
import fastloss as fl
from tests.losses.problem import levels
from tests.losses.support import ONE_OF_EACH

# So many elements that threads share them, for each way through the kernels.
SHAPES = [((14000, 10), 1), ((1400, 100), 1), ((100, 1400), 1), ((3, 40, 1200), 1), ((2, 600, 120), 1)]

fl.set_num_threads(3)
for case in ONE_OF_EACH:
    one_way = case.in_batch or case.of_chains or not case.has_axis
    shapes = [((150, 1000), 1)] if one_way else SHAPES
    for dtype in (np.float32, np.float64):
        for shape, axis in shapes:
            problem = case.problem(shape, axis, dtype)
            weight = None if case.in_batch else problem.weight()
            halves = not case.in_batch and dtype == np.float32
            half = problem.with_(pred=problem.pred.astype(np.float16))
            for level in levels():
                for each in [problem, half] if halves else [problem]:
                    each.value_and_grad(reduction="none" if halves else "sum")
                    each.value_and_grad(sample_weight=weight)
                    if case.hessian:
                        each.grad_and_hess(sample_weight=weight)
w = np.ones((400, 400))
fl.max_norm(w, 1.0)
fl.dropout(w, 0.5, 0)
print("done")
"""


def test_threads_with_small_stacks_run_every_loss():
    """musl gives a thread 128 KiB of stack. The losses need half of that."""
    done = python(CODE, OMP_STACKSIZE="64k", PYTHONPATH=str(Path(__file__).parents[2]))
    assert done.stdout == "done\n", (done.returncode, done.stderr)
