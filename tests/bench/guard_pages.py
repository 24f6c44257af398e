"""The work that is the same for every page, without network or database: what `guard_counting` counts the instructions of.

    python -P guard_pages.py FOLDER TIMES ──► warm: all pages once ──fork──► all pages, TIMES times ──► the same number in both

The tree to be measured is on PYTHONPATH, and nothing of this one: it may be an older one.
The child has done what its parent has, and then the pages: the difference is what they cost, without imports and caches being filled.
"""

import os
import sys
import time
from pathlib import Path

# Under valgrind everything takes fifty times as long, which a parser that looks at the clock would take for a hostile page.
time.process_time = time.thread_time = time.perf_counter = lambda: 0.0

from crawler.parsing import Job, parse  # noqa: E402 - the clocks have to stand still before it takes them


def main() -> None:
    """Read all pages of a folder, and in a child so many times more."""
    pages = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
    _read(pages)
    child = os.fork()
    if not child:
        for _ in range(int(sys.argv[2])):
            _read(pages)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status))


def _read(pages: list[bytes]) -> None:
    for number, body in enumerate(pages):
        job = Job(
            body=body,
            url=f"http://docs0.test/guide/page-{number}.html",
            content_type="text/html; charset=utf-8",
            headers=(("Content-Type", "text/html; charset=utf-8"), ("Server", "nginx")),
            parser="turbohtml",
        )
        parse(job)


if __name__ == "__main__":
    main()
