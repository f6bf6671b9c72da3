"""Fixtures that restore what a test changes for the whole process."""

import pytest

pytest.register_assert_rewrite("tests.losses")

from fastloss._core.calls.kernels import kernels, supported_levels  # noqa: E402
from fastloss._core.cpu import team, threads  # noqa: E402

team.set_adaptive(False)  # a test that sets a number of threads wants these threads


@pytest.fixture(autouse=True)
def restore_threads_and_level(monkeypatch):
    monkeypatch.setattr(threads, "_requested", threads._requested)
    before = kernels.level
    yield
    if kernels.level != before:
        kernels.select(before)


@pytest.fixture(params=supported_levels())
def level(request):
    """Run the test once on each CPU level of this machine."""
    kernels.select(request.param)
    return request.param
