"""Whether the process that took a cell is still there."""

import os
import socket
from pathlib import Path


def host_name() -> str:
    """This machine."""
    return socket.gethostname()


def process_birth(pid: int) -> str:
    """When a process of this machine was born, as text; tells a reused pid from the old one. "" if unknown.

    A dead process that nobody has waited for is dead.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name, in parentheses, may contain anything
    return "" if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def is_alive(pid: int, birth: str) -> bool:
    """Whether the process of this machine with that pid and birth still runs."""
    if birth:
        return process_birth(pid) == birth
    if os.name == "nt":  # there is no signal 0; os.kill would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
