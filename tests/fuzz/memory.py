"""Arrays between pages that no one may touch, and the call that ran when one was touched."""

import ctypes
import mmap
import os
import pathlib

import numpy as np

#: One file for each process. If a fence ends the process, nothing else says which call it was.
LAST_CALL = pathlib.Path(".hypothesis") / f"last-call-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
PAGE, NO_ACCESS, KNOWN = mmap.PAGESIZE, 0, 0xA5
libc = ctypes.CDLL(None, use_errno=True)


def remember(call):
    LAST_CALL.parent.mkdir(exist_ok=True)
    LAST_CALL.write_text(repr(call))


class Fences:
    """Memory for arrays: a page without access, known bytes, an array, and the other way round behind it.

    An array ends where a page ends, or begins where it begins. Reading or writing a fence ends the process.
    """

    def __init__(self, at_end):
        self.at_end = at_end
        self.known = []

    def copy(self, x):
        pages = max(1, -(-x.nbytes // PAGE))
        memory = np.frombuffer(mmap.mmap(-1, (pages + 2) * PAGE), np.uint8).reshape(-1, PAGE)
        for fence in (memory[0], memory[-1]):
            if libc.mprotect(ctypes.c_void_p(fence.ctypes.data), ctypes.c_size_t(PAGE), NO_ACCESS):
                raise OSError(ctypes.get_errno(), "mprotect")
        memory = memory[1:-1].reshape(-1)
        memory[:] = KNOWN
        start = len(memory) - x.nbytes if self.at_end else 0
        self.known += [memory[:start], memory[start + x.nbytes :]]
        copy = memory[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
        copy[...] = x
        return copy

    def assert_untouched(self):
        assert all(np.all(x == KNOWN) for x in self.known), "written outside of an array"
