"""What hypothesis draws: any call of any loss. Losses, inputs and parameters are read from declarations and cases."""

import inspect
import math

import numpy as np
from hypothesis import strategies as st

from fastloss._core.calls.kernels import kernels, supported_levels
from tests.losses import layouts
from tests.losses.cases import CASES, NUMBERS, limits
from tests.losses.support import FLOATS, LOSSES, REDUCTIONS

from .calls import COMMON, Call, Weights

#: Lengths around those of vector registers and tiles.
LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 97, 127, 129, 255, 257]
LENGTHS += [341, 342, 511, 512, 513, 1023, 1024, 1025, 2049, 5000, 10_000]
MOST_ELEMENTS = 12_000
MOST_SAMPLES = 150  # of a batch in which every sample meets every other

#: Numbers inside the limits of a parameter, and at their ends. Every dtype of `pred` holds them exactly.
INSIDE = {
    "finite": st.sampled_from([0.0, -0.0, 1.0]) | st.floats(-20, 20, width=16),
    "finite and > 0": st.sampled_from([1.0, 0.25]) | st.floats(2**-6, 20, width=16),
    "finite and >= 0": st.sampled_from([0.0, 1.0, 2.0]) | st.floats(2**-6, 10, width=16),
    "in [0, 1]": st.sampled_from([0.0, 1.0]) | st.floats(0, 1, width=16),
    "in [-1, 1]": st.sampled_from([-1.0, 1.0, 0.0]) | st.floats(-1, 1, width=16),
    "in (1, 2)": st.floats(1.125, 1.875, width=16),
    "in (0, 1)": st.floats(2**-6, 1 - 2**-6, width=16),
}
assert INSIDE.keys() == NUMBERS.keys()

DTYPES = st.sampled_from("?bBhHiIqQefdg") | st.sampled_from([">i2", ">f4", ">f8"])
LEVELS = st.sampled_from([x for x in supported_levels() if x == kernels.level])


def some(keys, values):
    """A dictionary with some of the keys."""
    return st.dictionaries(st.sampled_from(sorted(keys)), values, max_size=3) if keys else st.just({})


@st.composite
def shapes(draw, case, axis_from):
    """A shape of the first input, and its class axis or that of the elements of vectors."""
    if case.in_batch:
        return (draw(st.integers(0, 40) | st.integers(0, MOST_SAMPLES)), draw(st.sampled_from(LENGTHS[1:20]))), -1
    ndim = draw(st.integers(axis_from, 4))
    axis = draw(st.integers(-ndim, ndim - 1)) if case.takes_axis else -1
    shape = []
    for k in range(ndim):
        left = MOST_ELEMENTS // math.prod(n or 1 for n in shape)
        least = case.has_axis and k == axis % ndim  # there has to be a class
        shape.append(draw(st.sampled_from([n for n in LENGTHS if least <= n <= left])))
    return tuple(shape), axis


def values_of(case, name, default):
    """A strategy for a parameter; None if nothing else than the default is known."""
    seen = [other.parameters[name] for other in CASES if other.name == case.name and name in other.parameters]
    seen = [x.__name__ if callable(x) else x for x in seen]
    if name == "ignore_index":
        return st.sampled_from([-100, -1, 0, 1, 255, 2**62, -(2**63)]) if case.class_indices else None
    if type(default) is bool:  # goes with the generators of a case
        return None
    if type(default) is float and limits(case.name, name) is not None:
        return INSIDE[limits(case.name, name)]
    return st.sampled_from(seen) if seen else None


@st.composite
def parameters_of(draw, case):
    """A strategy for some of the parameters of a loss, without the axis."""
    parameters = {}
    for name, declared in inspect.signature(case.loss).parameters.items():
        if declared.default is declared.empty or name in (*COMMON, "axis"):
            continue
        values = values_of(case, name, declared.default)
        if values is not None and draw(st.booleans()):
            parameters[name] = draw(values)
    return parameters


@st.composite
def weights(draw, ndim, cancel):
    """Sample weights for a loss of so many axes. Their unit may be extreme if it cancels."""
    own = draw(st.integers(min(1, ndim), ndim))
    ones = draw(st.sets(st.integers(0, own - 1), max_size=2)) if own and AXES_OF_LENGTH_1 else ()
    unit = draw(st.sampled_from([1.0, 2.0**-900, 2.0**900] if cancel else [1.0, 1e-9, 1e9]))
    return Weights(own, tuple(sorted(ones)), draw(st.sampled_from([0, 0.3, 0.8, 1])), unit)


AXES_OF_LENGTH_1 = False


def outs(draw, case, inputs):
    """For each array of results: "new", or an input that it may lie in."""
    if draw(st.booleans()):
        return ("new",) * len(inputs)
    likes = {x.name: x.shape for x in case.declaration.inputs}
    free = [k for k in likes if case.family != "classes" or k == case.first]
    chosen = []
    for name in inputs:
        fits = [k for k in free if k not in chosen and likes[k] == likes[name] and (likes[k] == "pred" or k == name)]
        chosen.append(draw(st.sampled_from(["new", *fits])))
    return tuple(chosen)


@st.composite
def calls(draw, names=tuple(LOSSES)):
    """Any call of one of the losses."""
    name = draw(st.sampled_from(names))
    case = draw(st.sampled_from([case for case in CASES if case.name == name]))
    parameters = {k: getattr(v, "__name__", v) for k, v in case.parameters.items()} | draw(parameters_of(case))
    if "labels_some_ignored" in {x.__name__ for x in case.inputs.values()}:
        parameters.pop("ignore_index", None)
    needs_axis = case.has_axis or not case.takes_any_shape or any(isinstance(x, str) for x in parameters.values())
    shape, axis = draw(shapes(case, int(needs_axis)))
    dtype = np.dtype(draw(st.sampled_from(FLOATS)))
    reduction = draw(st.sampled_from(REDUCTIONS))
    normalizer = draw(st.none() | st.sampled_from([1.0, 7.0, 1e-3, 1e9])) if reduction == "mean" else None
    method = draw(st.sampled_from(case.methods))
    special = draw(st.none() | st.tuples(st.just(case.first), st.sampled_from([*case.specials(dtype), math.nan])))
    out = None
    if method != "value" and draw(st.booleans()):
        out = outs(draw, case, case.differentiable * (1 + (method == "grad_and_hess")))
    arrays = {*case.inputs, "sample_weight", *(k for k, x in parameters.items() if isinstance(x, str))} - {*(out or ())}
    return Call(
        loss=name,
        inputs={k: x.__name__ for k, x in case.inputs.items()},
        shape=shape,
        axis=axis,
        dtype=dtype.name,
        seed=draw(st.integers(0, 1000)),
        parameters=parameters,
        special=special,
        weights=draw(st.none() | weights(len(shape) - case.has_axis, reduction == "mean" and not normalizer)),
        reduction=reduction,
        normalizer=normalizer,
        method=method,
        layouts=draw(some(arrays, st.sampled_from([x.__name__ for x in layouts.LAYOUTS]))),
        dtypes=draw(some(arrays - {case.first}, DTYPES)),
        out=out,
        hidden=draw(st.booleans()),
        at_end=draw(st.booleans()),
        level=draw(LEVELS),
        threads=draw(st.integers(1, 4)),
        streams=draw(st.booleans()),
    )
