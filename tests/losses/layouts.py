"""The same elements in other layouts: functions of an array."""

import numpy as np


def fortran(x):
    return np.asfortranarray(x)


def reversed_strides(x):
    return np.ascontiguousarray(x[(slice(None, None, -1),) * x.ndim])[(slice(None, None, -1),) * x.ndim]


def every_other(x):
    wide = np.zeros([2 * n for n in x.shape], x.dtype)
    view = wide[(slice(None, None, 2),) * x.ndim]
    view[...] = x
    return view


def unaligned(x):
    return np.frombuffer(b"x" + x.tobytes(), x.dtype, offset=1).reshape(x.shape)


def on_another_address(x):
    """Aligned for the dtype, but not for a vector register."""
    memory = np.empty(x.size + 1, x.dtype)
    view = memory[1:].reshape(x.shape)
    view[...] = x
    return view


def swapped(x):
    return x.astype(x.dtype.newbyteorder())


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


class Labelled(np.ndarray):
    """A subclass as others make them."""


def labelled(x):
    return x.view(Labelled)


def as_list(x):
    """Its numbers are float64, int64 or bool."""
    return x.tolist()


def as_memoryview(x):
    return x if x.dtype.kind == "V" else memoryview(x)  # the buffer protocol has no bfloat16


def repeated(x):
    """The first element along the first axis, in place of all of them."""
    return np.broadcast_to(x[:1], x.shape)


#: Those that keep all elements.
LAYOUTS = [fortran, reversed_strides, every_other, unaligned, on_another_address, swapped, read_only]
LAYOUTS += [labelled, as_list, as_memoryview]
