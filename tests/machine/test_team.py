"""The policy that watches what threads bring, by times that the tests make up, and the bits of results under it."""

import numpy as np
import pytest

import fastloss as fl
from fastloss._core.calls import policy
from fastloss._core.cpu import team
from tests.losses.comparing import assert_same_bits
from tests.losses.support import ONE_OF_EACH
from tests.machine.processes import python

ALONE = 1e-4  # seconds that a call takes on one thread
CALLS = 20_000


@pytest.fixture(autouse=True)
def adapting():
    team.set_adaptive(True)
    yield
    team.set_adaptive(False)


def simulate(times, kind=0):
    """Run calls that take so much with threads, relative to one thread.

    Return the whole time, relative to one thread, and the share of the calls that had threads.
    """
    total = teams = 0
    for took in times:
        size = team.simulate(kind, 2, ALONE, took * ALONE)
        total += took if size > 1 else 1
        teams += size > 1
    return total / len(times), teams / len(times)


def test_threads_that_pay_are_used_by_every_call():
    assert simulate([0.6] * CALLS) == (pytest.approx(0.6), 1)


@pytest.mark.parametrize("took", [1, 1.2, 3, 10, 100])
def test_threads_that_do_not_pay_cost_little(took):
    total, teams = simulate([took] * CALLS)
    assert total < 1.05
    assert 0 < teams < 0.05


def test_each_call_may_be_lucky_or_not():
    lucky = np.random.default_rng(0).lognormal(0, 0.5, CALLS)
    assert simulate(list(0.6 * lucky))[0] < 0.8
    assert simulate(list(1.3 * lucky))[0] < 1.05


@pytest.mark.parametrize("every", [10, 50])
def test_rare_calls_that_wait_for_long(every):
    """A thread that finds no core comes 4 ms later."""
    assert simulate([0.6 if i % every else 41.0 for i in range(CALLS)])[0] < 1.06


@pytest.mark.parametrize("before, after", [(0.6, 50), (50, 0.6), (0.6, 1.5), (1.5, 0.6)])
def test_another_library_comes_or_goes(before, after):
    simulate([before] * CALLS)
    total, teams = simulate([after] * CALLS)
    if after < 1:
        assert total < 0.85 and teams > 0.4
    else:
        assert total < 1.05 and teams < 0.05


def test_kinds_learn_for_themselves():
    simulate([50] * 100, kind=1)
    assert simulate([0.6] * 100, kind=2)[1] == 1
    assert team.state() == "True, threads pay for 1 kinds of calls and not for 1"


def test_one_thread_is_never_timed():
    assert team.simulate(3, 1, ALONE, ALONE) == 1
    assert team.state() == "True, threads pay for 0 kinds of calls and not for 0"


def test_the_switch(capfd):
    fl.set_num_threads(2, adapt=False)
    simulate([50] * 100)
    assert team.simulate(0, 2, ALONE, 50 * ALONE) == 2
    fl.show_config()
    assert "adapt: False, " in capfd.readouterr().out
    fl.set_num_threads(2)
    assert team.state().startswith("False")
    fl.set_num_threads(2, adapt=True)
    assert team.state().startswith("True")
    with pytest.raises(TypeError, match="^adapt must be True or False, not 1$"):
        fl.set_num_threads(2, adapt=1)


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_same_bits_with_and_without_the_policy(case, monkeypatch):
    monkeypatch.setattr(policy, "SERIAL", 0)
    problem = case.problem((40, 60)) if case.in_batch else case.problem((200, 60))
    team.set_adaptive(False)
    fl.set_num_threads(3)
    expected = problem.everything()
    team.set_adaptive(True)
    for _ in range(8):  # trials, and what comes after them
        assert_same_bits(problem.everything(), expected)


def test_the_environment():
    code = "from fastloss._core.cpu import team; print(team.state())"
    assert python(code).stdout.startswith("True, ")
    assert python(code, FASTLOSS_ADAPT="0").stdout.startswith("False, ")
    assert "ValueError: FASTLOSS_ADAPT must be 0 or 1, not 'no'" in python(code, FASTLOSS_ADAPT="no").stderr
