"""What is freed goes back to the system, whatever is allocated beside it."""

import subprocess
import sys

PROGRAM = """
import sys
from crawler.memory import keep_large_apart, resident
if sys.argv[1] == "apart":
    keep_large_apart()
bytes(24 << 20)  # from here on glibc would keep up to 24 MiB in its heap
large = [bytes(1 << 20) for _ in range(200)]
large = [bytearray(b"x") * (1 << 20) for _ in range(200)]
large = large[199:]  # the last one stands above all the others
print(resident() >> 20)
"""


def _left(how: str) -> int:
    """Megabytes left of 200 that were freed, but for the last."""
    return int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, check=True).stdout)


def test_what_is_freed_goes_back() -> None:
    """Of 200 MB all is given back but the one that is kept, where the C library by itself keeps them all."""
    assert _left("apart") < 100 < _left("alone")
