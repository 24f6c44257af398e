"""Memory and descriptors: what there is, what is used, and when new turns may begin."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.guards import GIVE_BACK_EVERY, LEAST, OPEN_AGAIN, RESERVED, Door, MemoryGuard, connections_within
from crawler.memory import available, give_back, left_in_groups, resident, share_of

MIB = 1 << 20
GREEDY = """
import sys
held = []
print("ready", flush=True)
for line in sys.stdin:
    held[:] = [bytearray(b"x") * (int(line) << 20)] if int(line) else []
    print("done", flush=True)
"""


class Greedy:
    """A real process that takes as much memory as it is told."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", GREEDY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._in, self._out = some(self._process.stdin), some(self._process.stdout)
        self._out.readline()
        self.pid = self._process.pid

    def take(self, mebibytes: int) -> None:
        """Have so many, and no more."""
        self._in.write(f"{mebibytes}\n")
        self._in.flush()
        self._out.readline()

    def close(self) -> None:
        """End it."""
        with self._process, self._in, self._out:
            self._process.kill()


def some(pipe: IO[str] | None) -> IO[str]:
    """It was asked for."""
    assert pipe is not None
    return pipe


@pytest.fixture
def greedy() -> Iterator[Greedy]:
    """A process that takes memory."""
    greedy = Greedy()
    yield greedy
    greedy.close()


def test_memory_that_rises_and_falls(greedy: Greedy) -> None:
    """New turns wait while a process of ours has taken more than the limit, and begin again when it has let go of it."""

    def used() -> int:
        return resident([greedy.pid]) - resident()  # this process may be large, and let go of much

    guard = MemoryGuard(used() + 60 * MIB, used, patience=60, stuck=pytest.fail)
    seen = []
    for now, mebibytes in enumerate([0, 30, 120, 120, 0]):
        greedy.take(mebibytes)
        guard.look(20.0 * now)
        seen.append(guard.closed)

    assert seen == [False, False, True, True, False]


def test_resident_counts_processes_that_live() -> None:
    """The memory of this process counts in full, that of one that has ended not at all."""
    own = resident()

    assert own > 10 * MIB
    assert abs(resident([2**22 + 1]) - own) < 10 * MIB


class Machine:
    """Memory that a test sets, and what a guard does about it."""

    def __init__(self, most: int | None = 1000, *, garbage: int = 0, patience: float = 60.0) -> None:
        self.used = 0
        self.garbage = garbage
        self.relieved = 0
        self.told: list[str] = []
        self.guard = MemoryGuard(
            most,
            lambda: self.used + self.garbage,
            patience=patience,
            stuck=self.told.append,
            relieve=self.relieve,
        )

    def relieve(self) -> None:
        """Give back the garbage."""
        self.relieved += 1
        self.garbage = 0


def test_what_is_free_is_given_back_first() -> None:
    """Memory that was only not given back yet stops no turn."""
    machine = Machine(garbage=900)
    machine.used = 200
    machine.guard.look(0.0)

    assert not machine.guard.closed
    assert machine.relieved == 1


def test_giving_back_takes_a_moment() -> None:
    """While memory is short, giving back is tried every ten seconds and not at every look."""
    machine = Machine()
    machine.used = 2000
    for second in range(21):
        machine.guard.look(float(second))

    assert machine.relieved == 3


def test_stuck_is_told_once_and_again_after_five_minutes() -> None:
    """Memory that does not fall is critical after a minute, and again after five more; while it falls in time, never."""
    machine = Machine()
    machine.used = 2000
    told_at = []
    for second in range(700):
        if second == 30:
            machine.used = 900
        if second == 31:
            machine.used = 2000
        before = len(machine.told)
        machine.guard.look(float(second))
        told_at += [second] * (len(machine.told) - before)

    assert told_at == [91, 391, 691]


def test_no_limit() -> None:
    """Where nobody knows a limit, nothing is measured and no turn waits."""
    guard = MemoryGuard(None, pytest.fail, patience=0, stuck=pytest.fail)
    guard.look(0.0)

    assert not guard.closed


@given(st.lists(st.tuples(st.floats(0.1, 30), st.integers(0, 3000), st.integers(0, 500)), min_size=1))
def test_door(steps: list[tuple[float, int, int]]) -> None:
    """The door is open below the limit, shut above it, and while it is shut one turn may begin if and only if none is at work."""
    machine, now, at_work = Machine(), 0.0, 0
    door = Door(machine.guard, lambda: at_work)
    for later, used, turns in steps:
        now += later
        machine.used, at_work = used, turns
        machine.guard.look(now)
        if used >= 1000:
            assert door.room() == (0 if turns else 1)
            assert door.lack == "memory"
        if used < 1000 * OPEN_AGAIN:
            assert door.room() is None
            assert door.lack == ""

    assert machine.relieved <= now / GIVE_BACK_EVERY + 1


def test_door_after_descriptors_ran_out() -> None:
    """For a minute after descriptors ran out three quarters of the turns may be at work, and connections of ended turns are closed."""
    now, at_work = [100.0], [40]
    door = Door(Machine(None).guard, lambda: at_work[0], lambda: now[0])
    door.ended("a.test")
    door.ended("b.test")
    before, idle = door.room(), door.ran_out()
    rooms = []
    for at_work[0], now[0] in ((40, 100.0), (29, 110.0), (0, 159.9), (0, 160.0)):
        rooms.append(door.room())

    assert before is None
    assert idle == {"a.test", "b.test"}
    assert rooms == [0, 1, 30, None]
    assert door.ran_out() == set()


def test_give_back() -> None:
    """Cycles that nobody has any more are freed."""
    before = resident()
    made: list[object] = []
    for _ in range(50):
        one: list[object] = [bytearray(b"x") * MIB]
        one.append(one)
        made.append(one)
    del one
    made.clear()
    give_back()

    assert resident() - before < 25 * MIB


@given(st.integers(0, 1 << 20))
def test_connections_leave_room(files: int) -> None:
    """Connections leave 64 descriptors to the rest, and a quarter of the others free; but a few there always are."""
    most = connections_within(files)

    assert most >= LEAST
    assert most == LEAST or 0 <= (files - RESERVED) * 3 - most * 4 < 4


class System:
    """A /proc and a /sys/fs/cgroup as some machine has them."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "groups"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "meminfo").write_text("MemTotal:     1000 kB\nMemFree:      500 kB\n")

    def path(self, *lines: str) -> "System":
        """Which control groups this process is in."""
        (self.proc / "self" / "cgroup").write_text("".join(f"{line}\n" for line in lines))
        return self

    def limit(self, folder: str, **files: object) -> "System":
        """Files of a group."""
        (self.groups / folder).mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (self.groups / folder / name.replace("__", ".")).write_text(f"{value}\n")
        return self

    def available(self) -> int | None:
        """What there is."""
        return available(self.proc, self.groups)


def test_machine_without_groups(tmp_path: Path) -> None:
    """Without control groups there is what the machine has; without /proc nobody knows."""
    assert System(tmp_path / "a").available() == 1000 * 1024
    assert available(tmp_path / "none", tmp_path / "none") is None


def test_least_limit_on_the_path_counts(tmp_path: Path) -> None:
    """Of the groups on the whole path the least limit counts, in version 2; "max" is none."""
    system = System(tmp_path).path("0::/user.slice/app.service")
    system.limit("user.slice/app.service", memory__max="max", memory__current=5)
    system.limit("user.slice", memory__max=300_000, memory__current=100_000)
    system.limit(".", memory__max=400_000, memory__current=350_000)

    assert system.available() == 300_000
    assert list(left_in_groups(system.proc, system.groups)) == [200_000, 50_000]


def test_container_of_version_1(tmp_path: Path) -> None:
    """In version 1 a container finds its own limit at the root, though its path names a folder that only the host sees."""
    system = System(tmp_path).path("5:cpu,cpuacct:/docker/abc", "4:memory:/docker/abc", "0::/")
    system.limit("memory", memory__limit_in_bytes=200_000, memory__usage_in_bytes=150_000)
    system.limit("cpu", memory__limit_in_bytes=1)

    assert system.available() == 200_000
    assert list(left_in_groups(system.proc, system.groups)) == [50_000]


def test_no_limit_in_version_1(tmp_path: Path) -> None:
    """The number that version 1 has for "none" is more than the machine has."""
    system = System(tmp_path).path("4:memory:/").limit("memory", memory__limit_in_bytes=9223372036854771712)

    assert system.available() == 1000 * 1024


@given(st.integers(1, 1 << 40), st.integers(1, 64))
def test_shares(most: int, processes: int) -> None:
    """The shares of all processes together are not more than the whole, and not less but for the remainder."""
    share = share_of(most, processes)

    assert share is not None
    assert share == 1 or most - processes < share * processes <= most


def test_share_of_the_machine() -> None:
    """Without a setting there is 80 % of what the machine or container has, for all processes together."""
    shares = [share_of(None, processes) for processes in (1, 2, 4)]

    assert None not in shares
    assert shares[0] == int((available() or 0) * 0.8)
    assert all(
        half is not None and whole is not None and half * 2 <= whole
        for whole, half in itertools.pairwise(shares)
    )


@pytest.mark.parametrize(
    ("most", "limits"), [("None", "(300, 300)"), ("250", "(250, 300)"), ("999", "(300, 300)")]
)
def test_soft_limit_is_raised(most: str, limits: str) -> None:
    """The soft limit of descriptors becomes the hard one, or what is set if that is less; the hard one stays."""
    program = f"import resource; from crawler.guards import raise_open_files; n = raise_open_files({most}); "
    program += "l = resource.getrlimit(resource.RLIMIT_NOFILE); assert n == l[0]; print(l)"
    limit = ["bash", "-c", 'ulimit -Sn 100 && ulimit -Hn 300 && exec "$@"', "limited"]
    done = subprocess.run([*limit, sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == limits
