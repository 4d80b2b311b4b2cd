"""Arrays right beside inaccessible memory, for tests that nothing reads or writes outside of its operands."""

import ctypes
import mmap

import numpy as np


class Guarded:
    """Memory that ends (or starts) where an inaccessible page starts (or ends)."""

    def __init__(self):
        self.kept = []
        self.libc = ctypes.CDLL(None, use_errno=True)

    def array(self, shape, dtype, at_end):
        page = mmap.PAGESIZE
        need = int(np.prod(shape)) * np.dtype(dtype).itemsize
        body = -(-max(need, 1) // page) * page
        memory = mmap.mmap(-1, body + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for edge in (start, start + page + body):
            assert self.libc.mprotect(ctypes.c_void_p(edge), page, 0) == 0
        self.kept.append((memory, start, body))
        offset = page + (body - need if at_end else 0)
        return np.frombuffer(memory, dtype, int(np.prod(shape)), offset).reshape(shape)

    def copy(self, x, at_end):
        y = self.array(x.shape, x.dtype, at_end)
        y[...] = x
        return y

    def release(self):
        for _, start, body in self.kept:  # readable again: the allocator will look at it
            for edge in (start, start + mmap.PAGESIZE + body):
                self.libc.mprotect(ctypes.c_void_p(edge), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE)
