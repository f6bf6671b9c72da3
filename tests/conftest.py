"""Fixtures that give back what a test changes for the whole process."""

import pytest

from fastloss import _cpu


@pytest.fixture(autouse=True)
def restore_threads_and_level(monkeypatch):
    monkeypatch.setattr(_cpu, "_requested", _cpu._requested)
    before = _cpu.kernels.level
    yield
    if _cpu.kernels.level != before:
        _cpu.kernels.select(before)


@pytest.fixture(params=_cpu.supported_levels())
def level(request):
    """Run the test once on each CPU level of this machine."""
    _cpu.kernels.select(request.param)
    return request.param
