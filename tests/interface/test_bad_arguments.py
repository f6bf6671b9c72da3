"""Every argument of every loss and function with values of every kind: each works by the rule, or an error names it."""

import decimal
import fractions
import functools
import inspect
import re
import warnings

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import leaves
from tests.losses.support import LOSSES, ONE_OF_EACH, for_each, raises


class Column:
    """A column of a table, as in pandas: it is no array, but NumPy can make one of it."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


class Exporter:
    """An array of another library that shares its memory by DLPack alone."""

    def __init__(self, x, device=(1, 0)):
        self.x = x
        self.device = device

    def __dlpack__(self, **options):
        if self.device != (1, 0):
            raise BufferError("the memory is on a GPU")
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device


class OnDevice:
    """An array that refuses to be copied to the CPU, as those of PyTorch on a GPU do."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("copy it to the CPU first")


structured = np.zeros(3, [("a", float)])
#: Values that are right for some argument.
RIGHT_FOR_SOME = {"0-d", "empty", "empty array", "range", "False", "numpy bool", "negative int"}

#: Values of every kind. Few arguments take any of them.
VALUES = {
    "None": None,
    "NaN": float("nan"),
    "inf": float("inf"),
    "str": "text",
    "number as str": "1",
    "empty str": "",
    "bytes": b"1",
    "bytearray": bytearray(b"1"),
    "list of str": ["a", "b"],
    "complex": 1j,
    "complex array": np.zeros(3, complex),
    "0-d complex": np.array(1j),
    "0-d str": np.array("1"),
    "0-d bool": np.array(True),
    "0-d object": np.array(None),
    "object array": np.array([1.0, None, "x"], object),
    "object": object(),
    "datetime": np.datetime64("2020-01-01"),
    "datetimes": np.zeros(3, "M8[s]"),
    "timedelta": np.timedelta64(1, "s"),
    "structured": structured,
    "structured scalar": structured[0],
    "void": np.void(b"1234"),
    "masked": np.ma.masked_array([1.0, 2.0], [0, 1]),
    "masked constant": np.ma.masked,
    "empty": [],
    "empty array": np.zeros((0, 3)),
    "0-d": np.array(1.0),
    "dict": {0: 1.0, 1: 2.0},
    "ragged": [[1.0], [2.0, 3.0]],
    "ragged and deep": [[[1.0]], [2.0]],
    "column": Column([1.0, "x"]),
    "on a device": OnDevice(),
    "set": {1.0, 2.0},
    "generator": (x for x in [1.0, 2.0]),
    "function": len,
    "class": float,
    "True": True,
    "False": False,
    "numpy bool": np.True_,
    "huge int": 10**400,
    "unprintable int": 10**5000,
    "long int": 2**70,
    "list of long ints": [2**70, 1],
    "negative int": -3,
    "negative float": -0.5,
    "numpy float": np.float64(-7.5),
    "numpy int": np.uint64(2**64 - 1),
    "longdouble": np.longdouble("1e400") if np.finfo(np.longdouble).maxexp > 1024 else np.longdouble("inf"),
    "Decimal": decimal.Decimal("-2.5"),
    "Decimal NaN": decimal.Decimal("nan"),
    "Decimal sNaN": decimal.Decimal("snan"),
    "Fraction": fractions.Fraction(-1, 3),
    "list of Decimal": [decimal.Decimal(1)] * 2,
    "exporter on a device": Exporter(np.zeros(3), (2, 0)),
    "range": range(7),
    "Ellipsis": ...,
    "slice": slice(3),
    "method": fl.mse.grad,
    "loss": fl.mse,
}


def check(call, name, what):
    """Assert that a call works without a warning, or raises an error that names the argument and what came."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = call()
        except (TypeError, ValueError) as error:
            text = str(error)
            # If a value is right by itself, others may not fit.
            fits = what in RIGHT_FOR_SOME or (name, what) == ("ignore_index", "None")
            named = r"axis|labels|target|class_weight|node_weight|tags|transitions|lengths" if fits else name
            assert re.search(rf"\b({name}|{named})\b", text), f"{name} = {what}: {text}"
            assert not re.search(r"np\.\w+\(|NoneType|<\w+\.\w+ object", text), f"{name} = {what}: {text}"
            assert len(text) < 300, f"{name} = {what}: {text}"
        else:
            assert all(isinstance(x, float | np.ndarray) for x in leaves(result)), f"{name} = {what}: {result!r}"


@for_each(ONE_OF_EACH)
def test_losses(case):
    problem = case.small()
    arguments = problem.inputs | problem.options
    parameters = inspect.signature(case.loss).parameters
    for name, parameter in parameters.items():
        for what, value in VALUES.items():
            for way in ("value", "value_and_grad", "normalizer"):
                if name == "out" and way != "value_and_grad" and value is not None:
                    continue
                loss = case.loss if way == "value" else getattr(case.loss, way)
                check(functools.partial(loss, **arguments | {name: value}), name, what)
        if parameter.default is parameter.empty:  # an input: None has no meaning for it
            with pytest.raises(TypeError, match=rf"^{name} must be .*, not None$"):
                case.loss(**arguments | {name: None})


def test_out_of_a_value():
    with raises(TypeError, "out goes with grad, value_and_grad and grad_and_hess: a value needs no array"):
        fl.mse([1.0], [1.0], out=1)


@pytest.mark.parametrize(
    "function, arguments",
    [
        (fl.max_norm, {"w": np.ones((2, 3)), "limit": 1.0, "axis": -1, "out": None}),
        (fl.dropout, {"x": np.ones((2, 3)), "rate": 0.5, "seed": 1, "out": None}),
    ],
    ids=["max_norm", "dropout"],
)
def test_functions(function, arguments):
    for name in arguments:
        for what, value in VALUES.items():
            check(functools.partial(function, **arguments | {name: value}), name, what)


def test_number_of_threads():
    before = fl.get_num_threads()
    try:
        for what, value in VALUES.items():
            check(lambda value=value: fl.set_num_threads(value) or 0.0, "n", what)
    finally:
        fl.set_num_threads(before)


def test_what_came_is_shown():
    x = np.zeros(3)
    for value, shown in (
        (None, "None"),
        ({"a": 1}, "dict"),
        ("abc", "str"),
        (["a", "b", "c"], "<U1"),
        ({1, 2}, "set"),
        (len, "builtin_function_or_method"),
        (2**70, "int"),
        (1j, "complex"),
        ([1.0, 2.0, None], "object (target[2] is None)"),
        (np.array([1.0, "2", None], object), "object (target[1] is '2')"),
        ([2**70, 1, 2], f"object (target[0] is {2**70})"),
        ([1, 2, decimal.Decimal("1.5")], "object (target[2] is Decimal('1.5'))"),
        (np.array([1, 2, 3], object), "object"),
    ):
        with raises(TypeError, f"target must be real (bool, integer or float), not {shown}"):
            fl.mse(x, value)
    with raises(TypeError, "target cannot be made an array: copy it to the CPU first"):
        fl.mse(x, OnDevice())
    with raises(ValueError, "strength must be finite and >= 0, not -1"):
        fl.l2(x, np.int64(-1))
    with raises(ValueError, "normalizer must be finite and > 0, not 0"):
        fl.mse(x, x, normalizer=np.uint64(0))
    with raises(ValueError, "ignore_index must fit 64 bits, not an integer of 16610 bits"):
        fl.nll(np.zeros((3, 2)), [0, 1, 1], ignore_index=10**5000)
    for given in ({0: 1.0, 1: 2.0}, "balanced"):
        with raises(
            TypeError, f"class_weight must be an array of 2 weights in class order, not {type(given).__name__}"
        ):
            fl.cross_entropy(np.zeros((3, 2)), [0, 1, 1], class_weight=given)


@pytest.mark.parametrize("number", [decimal.Decimal("0.5"), fractions.Fraction(1, 2), np.float16(0.5), np.array(0.5)])
def test_other_real_numbers_are_accepted(number):
    x, y = np.zeros(3), np.ones(3)
    assert fl.huber(x, y, delta=number) == fl.huber(x, y, delta=0.5)
    assert fl.mse(x, y, normalizer=number) == 6


# ---------------------------------------------------------------------------------------------------------------------
# DLPack


@for_each(ONE_OF_EACH)
def test_arrays_by_dlpack_alone(case):
    problem = case.small()
    arguments = problem.inputs | problem.options | {"sample_weight": problem.weight()}
    exported = {k: Exporter(x) if isinstance(x, np.ndarray) else x for k, x in arguments.items()}
    for way in case.methods[1:]:
        method = getattr(case.loss, way)
        for actual, expected in zip(leaves(method(**exported)), leaves(method(**arguments)), strict=True):
            assert np.array_equal(actual, expected)
    for name in problem.inputs:
        with raises(TypeError, f"{name} cannot be made an array: the memory is on a GPU"):
            case.loss(**arguments | {name: Exporter(problem.inputs[name], (2, 0))})


def test_an_exporter_without_a_device():
    class Broken:
        def __dlpack__(self):
            raise AttributeError("no memory")

    with pytest.raises(TypeError, match="^pred cannot be made an array: "):
        fl.mse(Broken(), [0.0])


def test_a_result_may_be_written_over_an_exported_array():
    x, y = np.array([1.0, 2.0]), np.array([1, 3])
    bad = x.copy()
    with raises(ValueError, "target[1] = 3 is not a label -1 or +1 (of 0/1 labels y, make np.where(y, 1, -1))"):
        fl.hinge.grad(Exporter(bad), y, out=bad)
    assert bad.tolist() == [1.0, 2.0]
    assert fl.mse.grad(Exporter(x), Exporter(y), out=x) is x
    assert x.tolist() == [0.0, -1.0]


def test_every_loss_is_here():
    assert {case.name for case in ONE_OF_EACH} == set(LOSSES)
