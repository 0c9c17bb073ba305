"""What the C library does with memory that a training frees."""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt, from malloc.h."""
_HEAP = 64 << 20
"""Size of a thread's heap. glibc unmaps an empty heap that is larger than the padding."""


def keep_freed_memory() -> None:
    """Keeps the memory of a batch for the next one.

    Otherwise glibc returns it to the kernel, which clears it before the next batch gets it
    (docs/benchmarks.md#training-input). Each thread keeps its own heaps, so none waits for another. Other C libraries
    are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, 1 << 30)
        mallopt(_TOP_PAD, _HEAP)
        mallopt(_MMAP_THRESHOLD, _HEAP // 2)  # the largest that is accepted
