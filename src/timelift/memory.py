"""Keep freed memory in the process: a new large tensor costs more than the arithmetic on it (page faults)."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3), glibc
_HUGE = 2**31 - 1


def keep_memory() -> bool:
    """Tell glibc's allocator to keep freed blocks for the next tensor; False where there is no glibc.

    Changes the whole process. The command line calls it; a library user may.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _HUGE)) and bool(mallopt(_TRIM_THRESHOLD, _HUGE))
