"""Memory: have the C library keep what is freed, instead of asking for it again.

An update frees what the next one allocates again.  glibc returns large blocks to the
operating system, which gives them back as new pages, each at the price of a page fault
and of being zeroed: 20,000 of them in an update of ResNet-50 on 32 images of 32x32.
"""

import ctypes
import platform

# glibc's <malloc.h>; mallopt(3) explains them
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1  # the heap does not shrink


def keep_freed() -> None:
    """Keep it for this process, up to its largest need; without glibc, do nothing."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, NEVER)
        libc.mallopt(M_MMAP_MAX, 0)
