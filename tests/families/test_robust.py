"""Robust regression losses: values worked out by hand, tiny, huge and infinite residuals, the knees of tukey."""

import math

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import assert_close
from tests.losses.support import INF, at, each_dtype, up


@each_dtype
def test_robust_losses_at_infinity(dtype):
    for c in (0.5, 1, 4):
        for sign in (1, -1):
            r, half = sign * INF, c**2 / 2
            assert at(fl.cauchy, r, dtype, c=c)[:2] == (INF, 0)
            assert at(fl.welsch, r, dtype, c=c) == (half, 0, 0)
            assert at(fl.geman_mcclure, r, dtype, c=c) == (half, 0, 0)
            assert at(fl.fair, r, dtype, c=c) == (INF, sign * c, 0)
            assert at(fl.tukey, r, dtype, c=c) == (dtype(c**2 / 6), 0, 0)


@each_dtype
@pytest.mark.parametrize("loss", [fl.cauchy, fl.welsch, fl.geman_mcclure, fl.fair, fl.tukey], ids=lambda x: x.__name__)
def test_robust_losses_are_half_the_square_near_zero(loss, dtype):
    r = 1e-9 if dtype is np.float32 else 1e-18
    value, grad, hess = at(loss, -r, dtype)
    # fair has a term r^3 / 3, the others r^4 and more
    assert_close((value, grad, hess), (dtype(r) ** 2 / 2, -dtype(r), dtype(1)), 4)
    assert at(loss, 0.0, dtype) == (0, 0, 1)


@each_dtype
def test_robust_losses_of_residuals_whose_square_overflows(dtype):
    huge = 1e30 if dtype is np.float32 else 1e200
    for c in (1, 1e-5):
        value, grad, _ = at(fl.cauchy, huge, dtype, c=c)
        assert_close(value, dtype(c**2 * math.log(huge / c)), 4)
        assert_close(grad, dtype(c**2 / huge), 4)
        assert_close(at(fl.welsch, huge, dtype, c=c), (dtype(c**2 / 2), dtype(0), dtype(0)), 4)
        assert_close(at(fl.geman_mcclure, huge, dtype, c=c), (dtype(c**2 / 2), dtype(0), dtype(0)), 4)
        assert_close(at(fl.fair, huge, dtype, c=c)[:2], (dtype(c * huge), dtype(c)), 4)
        assert_close(at(fl.tukey, -huge, dtype, c=c), (dtype(c**2 / 6), dtype(0), dtype(0)), 4)


@each_dtype
def test_robust_losses_with_tiny_and_huge_c(dtype):
    huge = 1e30 if dtype is np.float32 else 1e200
    for loss in (fl.cauchy, fl.welsch, fl.geman_mcclure, fl.fair, fl.tukey):
        for r in (1e-3, 1.0, 1e3):  # far below c, all of them are r^2 / 2
            assert_close(at(loss, r, dtype, c=huge)[:2], (float(dtype(r)) ** 2 / 2, dtype(r)), 4)
        for c in (1 / huge, 1e-300):
            assert np.isfinite(at(loss, 1.0, dtype, c=c)[:2]).all()
            assert not np.isnan(at(loss, np.inf, dtype, c=c)).any()
    assert_close(at(fl.fair, 1.0, dtype, c=1 / huge)[0], float(dtype(1 / huge)), 4)


@each_dtype
def test_tukey_and_its_knees(dtype):
    for c in (0.5, 1, 4):
        for sign in (1, -1):
            value, grad, hess = at(fl.tukey, sign * c, dtype, c=c)
            assert_close(value, dtype(c**2 / 6), 1)
            assert grad == hess == 0
            assert at(fl.tukey, sign * up(c, dtype), dtype, c=c) == (dtype(c**2 / 6), 0, 0)
            assert_close(at(fl.tukey, sign * c / 2, dtype, c=c)[1:], (dtype(sign * c * 9 / 32), dtype(-3 / 16)), 2)


@each_dtype
def test_geman_mcclure_where_the_square_overflows(dtype, level):
    """r^2 or 3 (r / c)^2 is beyond the dtype. The loss is at most c^2 / 2, and its second derivative tends to 0."""
    r, c = (1e21, 1e17) if dtype == np.float32 else (1e160, 1e152)
    value, _, hess = at(fl.geman_mcclure, r, dtype, c=c)
    assert value == pytest.approx(c * c / 2, rel=1e-6)
    assert abs(hess) < 1e-15
    r, c = (1.2e38, 1e19) if dtype == np.float32 else (1.1e308, 1e154)
    assert abs(at(fl.geman_mcclure, r, dtype, c=c)[2]) < 1e-30
