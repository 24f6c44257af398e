"""Which workers are certainly dead: their domains need not wait for a lease to end.

    started ──row in workers──► alive ──┬─ ends well: the row goes, the domains were released
                                        └─ killed: row and domains stay ──► the next worker of this machine sees it

A process is certainly dead when it ran in this boot and among the processes that we can see, and its number belongs to nobody
now, or to a process that began later. In the database of a data folder everybody is of this machine, so one of another boot is
dead too. Of everybody else we know nothing: their leases end by themselves.
"""

import contextlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Identity:
    """A process, in a way that no later one can be taken for it."""

    host: str
    boot: str
    """The boot of the machine, and among which processes the number counts (a container has its own)."""
    pid: int
    began: int
    """Clock ticks from the boot to the start of the process; 0 where that is not known."""

    @classmethod
    def ours(cls) -> Self:
        """This process."""
        return cls(socket.gethostname(), _boot(), os.getpid(), _began(os.getpid()) or 0)

    def is_dead(self, *, same_machine: bool) -> bool:
        """Is it certain that this process is no more? *same_machine*: it can only have run on ours."""
        here = _boot()
        if not here or not self.boot:
            return False
        if self.boot != here:
            # Another container has the same boot, but numbers of its own.
            return same_machine and self.boot.partition("/")[0] != here.partition("/")[0]
        if not same_machine and self.host != socket.gethostname():
            return False
        began = _began(self.pid)
        return began is None or (self.began not in {0, began})


def _boot() -> str:
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    return ""


def _began(pid: int) -> int | None:
    """When a process began (clock ticks since the boot); None: there is none, or only its remains."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
