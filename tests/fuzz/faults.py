"""Ways to spoil a good call. Each changes one argument, and returns its name, or None if it does not apply.

`arguments` are those of the call by name, in arrays of its own.
"""

import inspect

import numpy as np

from fastloss._core.request.domains import Domain
from tests.losses.cases import LIMITS, NUMBERS, limits
from tests.losses.comparing import leaves

from .calls import nested

FAULTS = {}

#: Elements outside of a domain.
OUTSIDE = {
    Domain.UNIT_INTERVAL: [-0.1, 1.1, np.nan, np.inf],
    Domain.PROBABILITY: [-0.1, 1.1, np.inf],
    Domain.NOT_NEGATIVE: [-1.0, -np.inf],
    Domain.SIGN: [0.0, 0.5, np.nan, -np.inf],
    Domain.ZERO_OR_ONE: [-1.0, 0.5, np.nan, np.inf],
}
WRONG_DTYPES = ["complex64", "object", "U3", "S3", "M8[s]", "m8[s]", [("a", float)]]


def fault(spoil):
    FAULTS[spoil.__name__] = spoil
    return spoil


def pick(rng, values):
    return values[rng.integers(len(values))]


def names_of_arrays(arguments):
    return [k for k, x in arguments.items() if isinstance(x, np.ndarray)]


@fault
def wrong_dtype(rng, problem, arguments):
    name = pick(rng, names_of_arrays(arguments))
    wrong = WRONG_DTYPES + ["?", "i4", "u8"] * (name == problem.case.first)
    arguments[name] = np.zeros(arguments[name].shape, pick(rng, wrong))
    return name


@fault
def no_array(rng, problem, arguments):
    name = pick(rng, list(problem.inputs))
    arguments[name] = pick(rng, [None, "1", [[1.0], [1.0, 2.0]], {}, object(), np.ma.masked_array(arguments[name])])
    return name


@fault
def wrong_shape(rng, problem, arguments):
    """One length is another, or there is one axis too many."""
    others = [k for k in names_of_arrays(arguments) if k != problem.case.first]
    if not others:
        return None
    name = pick(rng, others)
    x = arguments[name]
    shape = list(x.shape)
    if shape and rng.random() < 0.5:
        axis = rng.integers(len(shape))
        whole = problem.batch if name == "sample_weight" else problem.pred.shape
        shape[axis] = max(shape[axis], *whole) + 2
    else:
        shape.append(problem.pred.size + 2)
    arguments[name] = np.resize(x if x.size else [1], shape).astype(x.dtype)
    return name


@fault
def outside_domain(rng, problem, arguments):
    """One element, and the message says which."""
    case = problem.case
    names = [k for k, d in case.domains.items() if d in OUTSIDE and arguments[k].size]
    if not names or case.family == "terms":
        return None
    name = pick(rng, names)
    x = arguments[name]
    place = tuple(int(rng.integers(n)) for n in x.shape)
    axis = problem.axis if x.ndim == problem.pred.ndim else None
    if not counts(arguments, tuple(np.delete(place, axis)) if axis is not None else place, problem.batch):
        return None
    x[place] = pick(rng, OUTSIDE[case.domains[name]])
    return f"{name}[{', '.join(map(str, place))}]" if place else name


@fault
def wrong_class(rng, problem, arguments):
    if not problem.case.class_indices or not problem.target.size:
        return None
    x = arguments["target"]
    place = tuple(int(rng.integers(n)) for n in x.shape)
    if not counts(arguments, place, problem.batch):
        return None
    classes = problem.pred.shape[problem.axis]
    ignored = arguments.get("ignore_index", -100)
    x[place] = pick(rng, [k for k in (-1, -2, classes, classes + 1, 2**31, 2**32, -(2**63)) if k != ignored])
    return f"target[{', '.join(map(str, place))}]" if place else "target"


@fault
def wrong_weight(rng, problem, arguments):
    names = [k for k in names_of_arrays(arguments) if k.endswith("weight") and arguments[k].size]
    if not names:
        return None
    name = pick(rng, names)
    x = arguments[name]
    place = tuple(int(rng.integers(n)) for n in x.shape)
    x[place] = pick(rng, [-1.0, np.nan, np.inf, -np.inf])
    return f"{name}[{', '.join(map(str, place))}]" if place else name


def counts(arguments, place, batch):
    """Whether the element of the loss, or all elements that an element of an input belongs to, have a weight."""
    weight = arguments.get("sample_weight")
    if weight is None:
        return all(n > 0 for n in batch)
    return np.broadcast_to(weight.reshape(weight.shape + (1,) * (len(batch) - weight.ndim)), batch)[place].all()


def parameters(case, condition):
    """The names of the parameters of a loss whose declarations meet a condition."""
    declared = inspect.signature(case.loss).parameters.values()
    return [x.name for x in declared if x.default is not x.empty and condition(x)]


@fault
def wrong_number(rng, problem, arguments):
    loss = problem.case.name
    names = parameters(problem.case, lambda x: {x.name, (loss, x.name)} & LIMITS.keys() and limits(loss, x.name))
    if not names:
        return None
    name = pick(rng, names)
    arguments[name] = pick(rng, [*NUMBERS[limits(loss, name)], 10**400, "1", b"1", True, 1j, [1.0], object()])
    return name


@fault
def wrong_flag(rng, problem, arguments):
    names = parameters(problem.case, lambda x: type(x.default) is bool)
    if not names:
        return None
    name = pick(rng, names)
    arguments[name] = pick(rng, [0, 1, None, "yes", 0.5])
    return name


@fault
def wrong_axis(rng, problem, arguments):
    if not problem.case.takes_axis:
        return None
    ndim = problem.pred.ndim
    arguments["axis"] = pick(rng, [ndim, -ndim - 1, 2**70, 0.5, None, "1", True])
    return "axis"


@fault
def wrong_common(rng, problem, arguments):
    wrong = {
        "reduction": ["all", None, 1, "Mean", ["mean"]],
        "normalizer": [0, -1.0, np.nan, np.inf, "1", [1.0], True, 1j],
        "weights": [None, 1.0],
    }
    name = pick(rng, list(wrong))
    arguments[name] = pick(rng, wrong[name])
    if name == "normalizer":
        arguments["reduction"] = "mean"
    return name


@fault
def no_normalizer(rng, problem, arguments):
    arguments |= {"reduction": pick(rng, ["sum", "none"]), "normalizer": 1.0}
    return "normalizer"


@fault
def wrong_out(rng, problem, arguments):
    """One of the arrays of `out` is none to write into."""
    arrays = leaves(arguments.get("out", ()))
    if not arrays:
        return None
    k = int(rng.integers(len(arrays)))
    x = arrays[k]
    wide = np.empty((*x.shape, 2), x.dtype)
    frozen = x.copy()
    frozen.flags.writeable = False
    wrong = [x.tolist(), np.zeros(x.shape, "i4"), x.astype(x.dtype.newbyteorder()), np.ma.masked_array(x), wide, frozen]
    if x.size > 1:
        wrong += [np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape), wide[..., 0]]
    arrays[k] = wrong[int(rng.integers(len(wrong)))]
    arguments["out"] = nested(arguments["out"], iter(arrays))
    return "out"


@fault
def overlapping_out(rng, problem, arguments):
    """The first array of `out` begins one element before the first input."""
    first = problem.case.first
    x, arrays = arguments[first], leaves(arguments.get("out", ()))
    if not arrays or x.size < 2:
        return None
    memory = np.zeros(x.size + 1, x.dtype)
    arguments[first] = memory[1:].reshape(x.shape)
    arguments[first][...] = x
    arrays[0] = memory[:-1].reshape(x.shape)
    arguments["out"] = nested(arguments["out"], iter(arrays))
    return "out"
