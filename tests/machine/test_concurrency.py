"""Every entry point in several Python threads at the same time. Without a GIL, nothing else keeps them apart."""

import random
import sys
import threading

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import assert_same_bits
from tests.losses.support import ONE_OF_EACH
from tests.machine.processes import run_python

THREADS = 4
PUBLIC = {getattr(fl, name).__name__ for name in fl.__all__ if name.islower()}


def calls():
    """Functions without arguments that always give the same result. Together they use all that is public."""
    for case in ONE_OF_EACH:
        for shape in ((6, 4, 5), (50, 9)) if case.takes_axis else ((40, 7),):
            problem = case.problem(shape, 1, np.float32)
            weight = problem.weight()
            yield case.name, lambda p=problem: p.everything()
            yield case.name, lambda p=problem, w=weight: p.everything(sample_weight=w, reduction="none")
    yield from FUNCTIONS.items()


X = np.random.default_rng(0).standard_normal((300, 400), np.float32)
FUNCTIONS = {
    "dropout": lambda: fl.dropout(X, 0.5, 7),
    "max_norm": lambda: fl.max_norm(X, 1.0),
    "viterbi": lambda: fl.viterbi(X.reshape(30, 100, 40), X[:40, :40]),
}


def in_threads(work):
    """Run work(0), work(1), ... at the same time. Raise the first error."""
    errors, together = [], threading.Barrier(THREADS)

    def run(k):
        together.wait()
        try:
            work(k)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=run, args=(k,)) for k in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]


def test_everything_at_once():
    fl.set_num_threads(2)
    every = list(calls())
    expected = [call() for _, call in every]

    def work(k):
        order = list(range(len(every)))
        random.Random(k).shuffle(order)
        for i in order:
            assert_same_bits(every[i][1](), expected[i])
            if i % 50 == 0:
                fl.set_num_threads(1 + i % 3)
                assert fl.get_num_threads() >= 1

    in_threads(work)


def test_everything_is_tested():
    tested = {name for name, _ in calls()} | {"set_num_threads", "get_num_threads", "show_config"}
    assert tested == PUBLIC


def test_one_method_and_one_array_in_all_threads():
    """They share the input, the method and the weights; each writes its own results."""
    pred, target = np.random.default_rng(0).standard_normal((2, 1000))
    weight = np.arange(1000.0)
    method = fl.huber.value_and_grad
    expected = method(pred, target, sample_weight=weight, delta=0.5)

    def work(k):
        out = np.empty_like(pred)
        for _ in range(2000):
            value, grad = method(pred, target, sample_weight=weight, delta=0.5, out=out)
            assert_same_bits((value, grad), expected)

    in_threads(work)


@pytest.mark.skipif(not hasattr(sys, "_is_gil_enabled"), reason="this Python has no choice")
def test_the_import_does_not_bring_the_gil_back():
    code = "import numpy, sys; before = sys._is_gil_enabled(); import fastloss; print(before == sys._is_gil_enabled())"
    assert run_python(code) == "True"
