"""The errors that a user meets as one clear line; the command line turns each into its exit code."""


class TimeliftError(Exception):
    """Anything a user can cause. The message says what came, what was wanted, and what to do."""

    exit_code = 1


class DataError(TimeliftError):
    """Bad data: a missing folder, an unreadable video, a broken list (exit code 1)."""

    exit_code = 1


class UsageError(TimeliftError, ValueError):
    """Wrong use: an unknown name, an impossible combination of options (exit code 2)."""

    exit_code = 2


class DiskFull(TimeliftError):
    """No room to write: not the fault of what was written, so the same command may succeed later."""

    exit_code = 1
