"""The slow checks of arguments: conversions, and every message.

A message names the argument, what was expected and what came; for a bad element, its first position and value.
"""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastloss._core.request.domains import EXPECTED, Domain, outside

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
#: The one-letter codes of NumPy's types that the kernels load: bool, every integer, half, float, double.
LOADABLE = frozenset("?bBhHiIlLqQefd")
#: How names of arrays end that hold nothing for each sample.
WITHOUT_SAMPLES = ("weight", "bias", "transitions", "start", "end", "counts")


def array(x: ArrayLike, name: str) -> NDArray[Any]:
    if isinstance(x, np.ma.MaskedArray):
        hint = "" if name.endswith(WITHOUT_SAMPLES) else ": fill it, and give ~mask as sample_weight"
        raise TypeError(f"{name} must not be a masked array{hint}")
    try:
        result = np.asarray(x)
        if result.dtype == object and hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
            result = np.from_dlpack(cast(Any, x))
    except (AttributeError, TypeError, ValueError, RuntimeError, BufferError) as error:  # a ragged list, another device
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"{name} cannot be made an array: {error}") from error
    return result


def shown(x: Any) -> str:
    """An argument as a message shows it: short, and the numbers of NumPy as plain numbers."""
    if isinstance(x, (np.ndarray, np.generic)) and x.ndim == 0:
        return str(x) if x.dtype.kind in "biufc" else repr(x.item())
    if isinstance(x, int) and x.bit_length() > 128:
        return f"an integer of {x.bit_length()} bits"
    return reprlib.repr(x)


def type_name(x: Any) -> str:
    """The type of an argument, as a message shows it."""
    return "None" if x is None else type(x).__name__


def dtype_of(x: Any, name: str) -> str:
    """What came as an array, in words: its dtype, and for objects what they are."""
    made = array(x, name)
    if made.ndim == 0 and not isinstance(x, (np.ndarray, np.generic)):
        return type_name(x)
    if made.dtype == object:
        for position, element in np.ndenumerate(made):
            if not isinstance(element, (int, float)) or isinstance(element, int) and element.bit_length() > 64:
                return f"object ({name}{list(position) or ''} is {shown(element)})"
    return str(made.dtype)


def contiguous(x: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return x itself if a kernel can read it in place.

    Otherwise return a C-contiguous, aligned copy in native byte order.
    """
    # A number too large for float32 becomes inf. The kernel checks for that later.
    with np.errstate(all="ignore"):
        return np.require(x, dtype, ["C", "A"]).reshape(x.shape)  # np.require makes 0-d arrays 1-d


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether this is bfloat16 of the package ml_dtypes, in either byte order."""
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.name == "bfloat16"


def computed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that losses of this dtype are computed in."""
    return FLOAT64 if dtype == FLOAT64 else FLOAT32


def floating(x: ArrayLike, name: str) -> NDArray[Any]:
    """An input that fixes the dtype of the result."""
    given, x = x, array(x, name)
    if x.dtype.char not in "efd" and not is_bfloat16(x.dtype):
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, not {dtype_of(given, name)}")
    return contiguous(x, x.dtype.newbyteorder("="))


def real_as_it_lies(x: ArrayLike, name: str) -> NDArray[Any]:
    """A real input of any dtype and any layout."""
    given, x = x, array(x, name)
    if x.dtype.kind not in "biuf" and not is_bfloat16(x.dtype):
        raise TypeError(f"{name} must be real (bool, integer or float), not {dtype_of(given, name)}")
    return x


def real(x: ArrayLike, name: str) -> NDArray[Any]:
    """A real input of any dtype. The kernels load most of them tile by tile; the others are converted to float64."""
    x = real_as_it_lies(x, name)
    loadable = x.dtype.char in LOADABLE or x.dtype.kind == "V"
    return contiguous(x, x.dtype.newbyteorder("=") if loadable else FLOAT64)


def number(
    x: Any,
    name: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
    infinite: bool = False,
) -> float:
    """Return x as a float if it is a finite number in [low, high], or inf if `infinite`.

    `above` excludes low. `below` excludes high.
    """
    value = real_number(x, name)
    inside = low <= value <= high and not (above and value == low) and not (below and value == high)
    if not ((infinite or math.isfinite(value)) and inside):
        if infinite:
            wanted = f">= {low:g}, or inf"
        elif high < math.inf:
            wanted = f"in {'(' if above else '['}{low:g}, {high:g}{')' if below else ']'}"
        elif low > -math.inf:
            wanted = f"finite and {'>' if above else '>='} {low:g}"
        else:
            wanted = "finite"
        raise ValueError(f"{name} must be {wanted}, not {shown(x)}")
    return value


def real_number(x: Any, name: str) -> float:
    """One number as a float, which is inf if it is too large for one."""
    try:
        if is_number(x):
            return float(x)
    except OverflowError:
        return math.inf
    except (TypeError, ValueError, RuntimeError):
        pass
    raise TypeError(f"{name} must be a real number, not {type_name(x)}")


def is_number(x: Any) -> bool:
    """Whether x is one number, as far as its type says: not text that looks like one, nor a bool."""
    if isinstance(x, (np.ndarray, np.generic)):
        # bfloat16 of ml_dtypes has the kind "V", like void and structured types.
        real = x.dtype.kind in "iuf" or x.dtype.kind == "V" and not issubclass(x.dtype.type, np.void)
        return real and x.ndim == 0 and not isinstance(x, np.ma.MaskedArray)
    converts = hasattr(type(x), "__float__") or hasattr(type(x), "__index__")
    return converts and not isinstance(x, bool) and getattr(x, "ndim", 0) == 0


def flag(x: Any, name: str) -> bool:
    if not isinstance(x, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {shown(x)}")
    return bool(x)


def index(x: Any, name: str) -> int:
    """An integer, but not a bool."""
    try:
        if not isinstance(x, (bool, np.bool_)):
            return operator.index(x)
    except TypeError:
        pass
    raise TypeError(f"{name} must be an integer, not {type_name(x)}")


def integer(x: Any, name: str) -> int:
    """An integer that fits 64 bits."""
    value = index(x, name)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} must fit 64 bits, not {shown(value)}")
    return value


def at_least_1(x: Any, name: str) -> int:
    value = integer(x, name)
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def raise_not_leading(weight: NDArray[Any], shape: tuple[int, ...]) -> NoReturn:
    """Raise the error for sample weights whose shape is not the leading axes of the loss."""
    raise ValueError(
        f"sample_weight must have the shape of the loss, {shape}, or of its leading axes, "
        f"where an axis of length 1 stands for a whole axis, not {weight.shape}"
    )


def seed(x: Any) -> int:
    """The key of a random generator: 64 bits."""
    value = index(x, "seed")
    if not 0 <= value < 2**64:
        raise ValueError(f"seed must be in [0, 2^64), not {shown(value)}")
    return value


def axis(x: Any, ndim: int, no_axis_message: str = "pred must have a class axis", name: str = "axis") -> int:
    """One axis of an array, counted from the front.

    `no_axis_message` begins the error message for an array without any axis. `name` is that of the argument.
    """
    k = index(x, name)
    if ndim == 0:
        raise ValueError(f"{no_axis_message}, and is 0-dimensional")
    if not -ndim <= k < ndim:
        raise ValueError(f"{name} must be in [{-ndim}, {ndim}), not {shown(k)}")
    return k % ndim


def class_labels(x: ArrayLike, name: str, n: int) -> NDArray[Any]:
    """Labels of n samples: any integers."""
    label = real(x, name)
    if label.shape != (n,):
        raise ValueError(f"{name} must have shape {(n,)}, a label for each sample, not {label.shape}")
    if n == 0:  # np.asarray([]) has dtype float64, so an empty list cannot show that it holds class labels
        return np.zeros(0, np.int64)
    if label.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold class labels of an integer dtype, not {dtype_of(x, name)}")
    return label


def raise_not_for_classes(
    target: NDArray[Any], given: ArrayLike, pred: NDArray[Any], batch: tuple[int, ...], allowed: bool, any_axis: bool
) -> NoReturn:
    """Raise the error for a target that is neither class indices nor, where these are allowed, probabilities.

    `any_axis` says whether the loss has a parameter for the class axis.
    """
    if target.shape == batch:
        dtype = dtype_of(given, "target")
        raise TypeError(f"target must hold class indices of an integer dtype in shape {batch}, not {dtype}")
    or_probabilities = f" or {pred.shape} (probabilities)" if allowed else ""
    axes = range(pred.ndim) if any_axis and target.dtype.kind in "iu" else ()
    others = [f"axis={k}" for k in axes if target.shape == pred.shape[:k] + pred.shape[k + 1 :]]
    hint = f": it would fit {' or '.join(others)}" if others else ""
    raise ValueError(f"target must have shape {batch} (class indices){or_probabilities}, not {target.shape}{hint}")


def check_elements(x: NDArray[Any], domain: Domain, name: str, given: NDArray[Any]) -> None:
    """Raise ValueError for the first element of x outside its domain. The message shows what was given for it."""
    bad = outside(x, domain)
    if bad.any():
        raise_first(given, bad, name, EXPECTED[domain])


def each_class(x: ArrayLike, name: str, classes: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A number for each class, in one dtype."""
    given = real(x, name)
    if given.shape != (classes,):
        raise ValueError(f"{name} must have shape {(classes,)}, not {given.shape}")
    return contiguous(given, dtype)


def class_weights(x: ArrayLike, classes: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    if isinstance(x, (str, Mapping)):  # scikit-learn and Keras take such
        raise TypeError(f"class_weight must be an array of {classes} weights in class order, not {type_name(x)}")
    given = real(x, "class_weight")
    weight = each_class(given, "class_weight", classes, dtype)
    check_elements(weight, Domain.WEIGHT, "class_weight", given)
    return weight


def rows_of_classes(x: ArrayLike, name: str, length: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A matrix with a row of this length for each class, in one dtype. It is C- or Fortran-contiguous."""
    given = real_as_it_lies(x, name)
    if given.ndim != 2 or given.shape[1] != length or len(given) == 0:
        what = "one row or more, each as long as the vectors in x"
        raise ValueError(f"{name} must have shape (C, {length}), {what}, not {given.shape}")
    check_classes(len(given), name)
    with np.errstate(all="ignore"):
        return np.require(given, dtype, ["A", "F" if given.flags.f_contiguous else "C"])


def check_classes(classes: int, name: str) -> None:
    """Raise ValueError if there are too many classes. Kernels keep those of the samples of a tile in vectors of int."""
    if classes >= 2**31:
        raise ValueError(f"{name} must have at most {2**31 - 1} classes, not {classes}")


def along_axis(
    pred: NDArray[Any], name: str, x: ArrayLike | None, domain: Domain, of: int, name_of_axis: str
) -> NDArray[Any] | None:
    """A number, or one for each index of the axis `of` of pred, behind axes of length 1 for those before; or None."""
    k = axis(of, pred.ndim, f"pred must have an axis for {name}", name_of_axis) if pred.ndim or of != -1 else 0
    if x is None:
        return None
    given = real(x, name)
    if given.ndim and given.shape != pred.shape[k : k + 1]:
        others = [n for n in range(pred.ndim) if given.shape == pred.shape[n : n + 1]]
        hint = "".join(f": it would fit {name_of_axis}={n}" for n in others if name_of_axis)
        where = "the last axis" if of == -1 else f"axis {k}"
        raise ValueError(
            f"{name} must be a number or have the shape of {where}, {pred.shape[k : k + 1]}, not {given.shape}{hint}"
        )
    numbers = contiguous(given, computed_in(pred.dtype))
    check_elements(numbers, domain, name, given)
    return numbers.reshape((1,) * k + numbers.shape) if numbers.ndim else numbers


def raise_first(x: NDArray[Any], bad: NDArray[np.bool_], name: str, expected: str) -> NoReturn:
    """Raise ValueError for the first element of x that is marked bad.

    The caller knows that there is one. If there is none any more, another thread changes the array.
    """
    if not bad.any():
        raise ValueError(f"{name} had an element that is not {expected}, and was changed during the call")
    position = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), x.shape))
    at = f"[{', '.join(map(str, position))}]" if position else ""
    raise ValueError(f"{name}{at} = {x[position].item()} is not {expected}")


def raise_outside(
    inputs: Iterable[tuple[str, Any, Domain]], dtype: np.dtype[Any], weight: NDArray[Any] | None,
    ignore_index: int | None = None
) -> NoReturn:  # fmt: skip
    """Raise ValueError for the first element that has a weight other than 0 and is outside its domain.

    Inputs are searched in order. Each is its name, its array and its domain. As in the kernels, an element is converted
    first: to the dtype that losses of `dtype` are computed in. If the target, the second input, is `ignore_index`, the
    element is ignored.
    """
    inputs, dtype = list(inputs), computed_in(dtype)
    nor = ""
    if ignore_index is not None:
        target = inputs[1][1]
        with np.errstate(all="ignore"):
            kept = target.astype(dtype) != dtype.type(ignore_index)
        weight = kept & is_weighted(weight, target.ndim)
        nor = f" nor ignore_index ({ignore_index})"
    for name, x, domain in inputs:
        if domain != Domain.ANY:
            with np.errstate(all="ignore"):
                bad = outside(x.astype(dtype), domain)
            if weight is not None:
                counts = weight.any(axis=tuple(range(x.ndim, weight.ndim)))
                bad &= counts.reshape(counts.shape + (1,) * (x.ndim - counts.ndim))
            if bad.any():
                raise_first(x, bad, name, EXPECTED[domain] + (nor if name == "target" else ""))
    raise ValueError("an input had an element outside its domain, and was changed during the call")


def is_weighted(weight: NDArray[Any] | None, ndim: int) -> NDArray[np.bool_]:
    """Whether a sample has a weight other than 0, in `ndim` axes. Those that `weight` lacks have length 1."""
    weight = np.ones(()) if weight is None else weight
    counts: NDArray[np.bool_] = weight.reshape(weight.shape + (1,) * (ndim - weight.ndim)) != 0
    return counts


def invalid_labels(
    target: NDArray[Any], classes: int, ignore_index: int, weight: NDArray[Any] | None
) -> NDArray[np.bool_]:
    """Which labels with a weight other than 0 are neither class indices nor `ignore_index`."""
    invalid: NDArray[np.bool_] = ~((target >= 0) & (target < classes) | (target == ignore_index))
    return invalid & is_weighted(weight, target.ndim)


def raise_class_target(
    target: NDArray[Any], has_labels: bool, axis: int, classes: int, ignore_index: int, weight: NDArray[Any] | None
) -> NoReturn:
    """Raise ValueError for the first class index or probability that counts and is not valid."""
    if has_labels:
        bad = invalid_labels(target, classes, ignore_index, weight)
        raise_first(target, bad, "target", f"a class index in [0, {classes}) nor ignore_index ({ignore_index})")
    bad = outside(target, Domain.UNIT_INTERVAL) & np.expand_dims(is_weighted(weight, target.ndim - 1), axis)
    raise_first(target, bad, "target", EXPECTED[Domain.UNIT_INTERVAL])


def raise_term(
    names: Iterable[str], pred: NDArray[Any], target: NDArray[Any], domains: tuple[Domain, Domain], axis: int,
    weight: NDArray[Any] | None, class_weight: NDArray[Any] | None, ignore_index: int, has_labels: bool, one_class: bool
) -> NoReturn:  # fmt: skip
    """Raise ValueError for the first label, or the first element with a term, that counts and is not valid."""
    along = (-1,) + (1,) * (pred.ndim - 1 - axis)  # the shape of a vector of classes
    counts = np.ones(pred.shape, bool) & np.expand_dims(is_weighted(weight, pred.ndim - 1), axis)
    if class_weight is not None:
        counts &= class_weight.reshape(along) != 0
    if has_labels:
        classes = pred.shape[axis]
        if invalid_labels(target, classes, ignore_index, weight).any():
            raise_class_target(target, True, axis, classes, ignore_index, weight)
        label = np.expand_dims(target, axis)
        counts &= label != ignore_index
        if one_class:
            counts &= label == np.arange(classes).reshape(along)
    inputs = zip(names, (pred, target), (domains[0], Domain.ANY if has_labels else domains[1]), strict=True)
    raise_outside(inputs, pred.dtype, counts)


def parts(x: Any, name: str, n: int, what: str) -> None:
    if not isinstance(x, tuple) or len(x) != n:
        raise TypeError(f"{name} must be a tuple of {n} {what}")


def output(x: Any, name: str, like: NDArray[Any]) -> NDArray[Any]:
    """An array to write results into, in the shape and dtype of `like`."""
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a NumPy array, not {type_name(x)}")
    if x.dtype != like.dtype:
        raise TypeError(f"{name} must have dtype {like.dtype}, not {x.dtype}")
    if x.shape != like.shape:
        raise ValueError(f"{name} must have shape {like.shape}, not {x.shape}")
    if not x.flags.c_contiguous or not x.flags.aligned:
        raise ValueError(f"{name} must be C-contiguous and aligned")
    if not x.flags.writeable:
        raise ValueError(f"{name} must be writable, and is read-only")
    return x
