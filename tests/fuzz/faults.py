"""Ways to spoil a good call."""

import inspect

import numpy as np

from fastloss._core.request.domains import Domain
from tests.losses.cases import NUMBERS
from tests.losses.comparing import leaves

from .calls import counting, limit_of, structured

#: Elements outside of a domain.
OUTSIDE = {
    Domain.UNIT_INTERVAL: [-0.1, 1.1, np.nan, np.inf],
    Domain.PROBABILITY: [-0.1, 1.1, np.inf],
    Domain.NOT_NEGATIVE: [-1.0, -np.inf],
    Domain.SIGN: [0.0, 0.5, np.nan, -np.inf],
    Domain.ZERO_OR_ONE: [-1.0, 0.5, np.nan, np.inf],
}
WRONG_DTYPES = ["complex64", "object", "U3", "S3", "M8[s]", "m8[s]", [("a", float)]]
WRONG = {
    "axis": [4, -5, 2**70, 0.5, None, "1", True],
    "blank": [-1, 2**70, 0.5, None, "1", True],
    "reduction": ["all", None, 1, "Mean", ["mean"]],
    "normalizer": [0, -1.0, np.nan, np.inf, "1", [1.0], True, 1j],
    "weights": [None, 1.0],
    "chunk_bytes": [0, -1, 2**70, 0.5, None, "1", True],
}


def pick(rng, values):
    return values[rng.integers(len(values))]


def spoil(rng, problem, arguments, method):
    """Spoil one of the arguments. Return what the message of the error has to contain; None if nothing was spoilt."""
    case = problem.case
    required = [x.name for x in case.declaration.inputs if not x.optional]
    declared = inspect.signature(case.loss).parameters
    name = pick(rng, [*declared, "weights"])
    x = arguments.get(name)
    if isinstance(x, np.ndarray):
        if rng.random() < 0.5:
            return spoil_element(rng, problem, arguments, name)
        wrong = [np.zeros(x.shape, dtype) for dtype in WRONG_DTYPES]
        wrong += [np.ma.masked_array(x)] * (x.dtype.kind == "f")
        if name == case.first:
            wrong += [np.zeros(x.shape, "i4"), np.zeros(x.shape, "?")]
        else:
            taken = {*problem.pred.shape, problem.classes if problem.case.linear else 0}
            size = next(n for n in range(2, 9) if n not in taken)
            wrong += [np.ones((*x.shape, size), x.dtype)]
            # There may be any number of labels, or of classes.
            fixed = range(name == "weight", x.ndim - (name == "targets"))
            wrong += [np.ones((*x.shape[:k], size, *x.shape[k + 1 :]), x.dtype) for k in fixed]
        if name in problem.inputs:
            wrong += ["1", [[1.0], [1.0, 2.0]], {}, object()] + [None] * (name in required)
    elif name == "out":
        return spoil_out(rng, problem, arguments, method)
    elif limit_of(case.name, name):
        wrong = [*NUMBERS[limit_of(case.name, name)], "1", b"1", True, 1j, [1.0], object()]
    elif name in declared and type(declared[name].default) is bool:
        wrong = [0, 1, None, "yes", 0.5]
    elif name == "normalizer" and arguments["reduction"] != "mean":
        wrong = [1.0]
    else:
        wrong = WRONG.get(name, [])
    if not wrong:
        return None
    arguments[name] = pick(rng, wrong)
    return name


def spoil_element(rng, problem, arguments, name):
    """Put one element outside of its domain. The message says which."""
    case, x = problem.case, arguments[name]
    place = tuple(int(rng.integers(max(n, 1))) for n in x.shape)
    of_samples_or_classes = name.endswith("weight") and name not in problem.inputs
    if of_samples_or_classes:
        wrong = [-1.0, np.nan, np.inf, -np.inf]
    elif name == "target" and case.class_indices:
        classes = problem.classes
        wrong = [-1, -2, classes, classes + 1, 2**31, 2**32, -(2**63)]
        wrong = [k for k in wrong if k != arguments.get("ignore_index", -100)]
    elif name.endswith("lengths"):
        wrong = [-1, 2**31, -(2**63)]
    else:
        wrong = OUTSIDE.get(case.domains.get(name), [])
    of_terms = case.family == "terms" and name == case.first  # it depends on the target whether an element counts
    if not x.size or not wrong or of_terms:
        return None
    if arguments["sample_weight"] is not None and not of_samples_or_classes:
        without_axis = [k for k in range(x.ndim) if x.ndim == len(problem.batch) or k != problem.axis]
        if not np.all(counting(problem, arguments["sample_weight"])[tuple(place[k] for k in without_axis)]):
            return None
    x[place] = pick(rng, wrong)
    return f"{name}[{', '.join(map(str, place))}]" if place else name


def spoil_out(rng, problem, arguments, method):
    """Make one of the arrays of `out` none to write into, or let the first one overlap the first input."""
    arrays = leaves(arguments.get("out", ()))
    if not arrays:
        return None
    k = int(rng.integers(len(arrays)))
    x, first = arrays[k], arguments[problem.case.first]
    wide, frozen = np.empty((*x.shape, 2), x.dtype), x.copy()
    frozen.flags.writeable = False
    wrong = [x.tolist(), np.zeros(x.shape, "i4"), np.ma.masked_array(x), wide, frozen]
    if x.size > 1:
        wrong += [wide[..., 0], np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)]
    arrays[k] = pick(rng, wrong)
    if first.size > 1 and rng.random() < 0.3:
        arrays[k], memory = x, np.zeros(first.size + 1, first.dtype)
        memory[1:] = first.reshape(-1)
        arrays[0], arguments[problem.case.first] = memory[:-1].reshape(first.shape), memory[1:].reshape(first.shape)
    arguments["out"] = structured(arrays, method, len(problem.case.differentiable))
    return "out"
