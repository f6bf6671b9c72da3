"""Arrays that lie against pages which no one may touch, with known bytes on the other side."""

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE
NO_ACCESS = 0
KNOWN = 0xA5
libc = ctypes.CDLL(None, use_errno=True)


class Fences:
    """Memory for arrays, each between two pages without access. Reading or writing these ends the process."""

    def __init__(self, at_end):
        self.at_end = at_end  # whether arrays end at the page behind them, or begin at the page before them
        self.areas = []

    def empty(self, shape, dtype):
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
        inside = -(-max(nbytes, 1) // PAGE) * PAGE
        area = np.frombuffer(mmap.mmap(-1, inside + 2 * PAGE), np.uint8)
        for fence in (area.ctypes.data, area.ctypes.data + PAGE + inside):
            if libc.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(PAGE), NO_ACCESS):
                raise OSError(ctypes.get_errno(), "mprotect")
        area = area[PAGE : PAGE + inside]
        area[:] = KNOWN
        start = inside - nbytes if self.at_end else 0
        self.areas.append((area[:start], area[start + nbytes :]))
        return area[start : start + nbytes].view(dtype).reshape(shape)

    def copy(self, x):
        copy = self.empty(x.shape, x.dtype)
        copy[...] = x
        return copy

    def assert_untouched(self):
        for before, behind in self.areas:
            assert np.all(before == KNOWN) and np.all(behind == KNOWN), "written outside of an array"
