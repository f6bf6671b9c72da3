"""What hypothesis draws: any call of any loss. Inputs and parameters are read from declarations and cases."""

import inspect
import math

import numpy as np
from hypothesis import strategies as st

from fastloss._core.calls.kernels import supported_levels
from fastloss._core.request.domains import Domain
from tests.losses import layouts
from tests.losses.cases import CASES, NUMBERS
from tests.losses.generators import real
from tests.losses.support import LOSSES, REDUCTIONS

from .calls import HALVES, Call, limit_of

#: Lengths around those of vector registers and tiles.
LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 97, 127, 129, 255, 257]
LENGTHS += [341, 342, 511, 512, 513, 1023, 1024, 1025, 2049, 5000, 10_000]
MOST_ELEMENTS = 12_000
#: Numbers inside the limits of a parameter, and at their ends. Every dtype of `pred` holds them exactly.
INSIDE = {
    "finite": st.sampled_from([0.0, -0.0, 1.0]) | st.floats(-20, 20, width=16),
    "finite and > 0": st.sampled_from([1.0, 0.25]) | st.floats(2**-6, 20, width=16),
    "finite and >= 0": st.sampled_from([0.0, 1.0, 2.0]) | st.floats(2**-6, 10, width=16),
    ">= 0, or inf": st.sampled_from([0.0, 1.0, math.inf]) | st.floats(2**-6, 10, width=16),
    ">= 1, or inf": st.sampled_from([1.0, 2.0, math.inf]) | st.floats(1, 8, width=16),
    "in [0, 1]": st.sampled_from([0.0, 1.0]) | st.floats(0, 1, width=16),
    "in [-1, 1]": st.sampled_from([-1.0, 1.0, 0.0]) | st.floats(-1, 1, width=16),
    "in (1, 2)": st.floats(1.125, 1.875, width=16),
    "in (0, 1)": st.floats(2**-6, 1 - 2**-6, width=16),
}
assert INSIDE.keys() == NUMBERS.keys()
DTYPES = st.sampled_from("?bBhHiIqQefdg") | st.sampled_from([">i2", ">f4", ">f8"])
LAYOUTS = st.sampled_from([x.__name__ for x in layouts.LAYOUTS] + ["repeated"])
LEVELS = st.sampled_from(supported_levels())
FLOATS = ["float32", "float64", *HALVES]


def names_of(generators):
    """Parameters or inputs of a case, with the names of generators in their place."""
    return {k: getattr(x, "__name__", x) for k, x in generators.items()}


@st.composite
def shapes(draw, case, least_ndim):
    """A shape of the first input, and its class axis or that of the elements of vectors."""
    if case.in_batch:
        return (draw(st.integers(0, 150)), draw(st.sampled_from(LENGTHS[1:20]))), -1
    if case.of_sequences:
        frames, sequences = draw(st.sampled_from(LENGTHS[:14])), draw(st.sampled_from(LENGTHS[:14]))
        classes = draw(st.sampled_from([n for n in LENGTHS[1:] if n * frames * sequences <= MOST_ELEMENTS]))
        return draw(st.sampled_from([(classes,), (frames, sequences, classes)])), -1
    ndim = draw(st.sampled_from([n for n in (1, 2, 3, 4, 1, 2, 3, 0) if n >= least_ndim]))
    axis = draw(st.integers(-ndim, ndim - 1)) if case.takes_axis else -1
    least, shape = draw(st.sampled_from([1, 1, 1, 1, 1, 1, 1, 0])), []
    for k in range(ndim):
        left = MOST_ELEMENTS // math.prod(n or 1 for n in shape)
        needed = case.has_axis and k == axis % ndim  # there has to be a class
        shape.append(draw(st.sampled_from([n for n in LENGTHS if max(least, needed) <= n <= left])))
    return tuple(shape), axis


@st.composite
def parameters_of(draw, case):
    """The parameters of a case, with others in place of those that do not go with its inputs."""
    parameters = names_of(case.parameters)
    for name in inspect.signature(case.loss).parameters:
        if limit_of(case.name, name) and draw(st.booleans()):
            parameters[name] = draw(INSIDE[limit_of(case.name, name)])
    if "labels" in names_of(case.inputs).values() and draw(st.booleans()):
        parameters["ignore_index"] = draw(st.sampled_from([-100, -1, 0, 1, 255, 2**62, -(2**63)]))
    return parameters


@st.composite
def weights(draw, ndim, cancel):
    """Sample weights for a loss of so many axes. Their unit may be extreme if it cancels."""
    own = draw(st.integers(min(1, ndim), ndim))
    ones = draw(st.sets(st.integers(0, own - 1), max_size=2)) if own else ()
    unit = draw(st.sampled_from([1.0, 2.0**-900, 2.0**900] if cancel else [1.0, 1e-9, 1e9]))
    return own, tuple(sorted(ones)), draw(st.sampled_from([0, 0.3, 0.8, 1])), unit


@st.composite
def outs(draw, case, gradients):
    """For each array of derivatives: "new", or an input that it is."""
    shape_of = {x.name: x.shape for x in case.declaration.inputs}
    may_be = {case.first} if case.family == "classes" else {k for k in shape_of if shape_of[k] == "pred"}
    chosen = []
    for name in gradients:
        fits = [k for k in sorted(may_be | {name}) if shape_of[k] == shape_of[name] and k not in chosen]
        chosen.append(draw(st.sampled_from(["new", "new", *fits])))
    return tuple(chosen)


@st.composite
def calls(draw, names=tuple(LOSSES)):
    """Any call of one of the losses."""
    name = draw(st.sampled_from(names))
    case = draw(st.sampled_from([case for case in CASES if case.name == name]))
    parameters = draw(parameters_of(case))
    arrays = [k for k, x in parameters.items() if isinstance(x, str)]
    shape, axis = draw(shapes(case, int(case.has_axis or bool(arrays))))
    dtype = draw(st.sampled_from(FLOATS))
    specials = [*map(float, case.specials(np.float64 if dtype == "float64" else np.float32)), math.nan]
    anything = [x.name for x in case.declaration.inputs if x.domain == Domain.ANY and case.inputs.get(x.name) is real]
    method = draw(st.sampled_from(case.ways))
    gradients = case.differentiable * {"value": 0, "normalizer": 0, "grad_and_hess": 2}.get(method, 1)
    reduction = draw(st.sampled_from(case.reductions if gradients else REDUCTIONS))
    normalizer = draw(st.none() | st.sampled_from([1.0, 7.0, 1e-3, 1e9])) if reduction == "mean" else None
    batch_ndim = len(shape) - case.has_axis - (case.of_sequences and len(shape) == 3)
    weighted = st.none() | weights(batch_ndim, reduction == "mean" and not normalizer)
    out = draw(st.just(()) | outs(case, gradients) | outs(case, gradients)) if gradients else ()
    of_classes = {"weight"} if case.linear else set()  # products may round otherwise if it has another layout
    movable = sorted({*case.inputs, *arrays, "sample_weight"} - {*out} - of_classes)
    others = sorted({*movable} - {case.first})
    special = st.tuples(st.sampled_from([case.first, *anything]), st.sampled_from(specials))
    flag, sometimes = st.booleans(), st.none() | st.none()
    return Call(
        loss=name, inputs=names_of(case.inputs), shape=shape, axis=axis, dtype=dtype, seed=draw(st.integers(0, 1000)),
        parameters=parameters, special=draw(sometimes | special), weights=draw(weighted), reduction=reduction,
        normalizer=normalizer, method=method, out=out, hidden=draw(flag), at_end=draw(flag), past_caches=draw(flag),
        layouts=draw(st.dictionaries(st.sampled_from(movable), LAYOUTS, max_size=3)),
        dtypes=draw(st.dictionaries(st.sampled_from(others), DTYPES, max_size=3)),
        level=draw(LEVELS), threads=draw(st.integers(1, 4)),
    )  # fmt: skip
