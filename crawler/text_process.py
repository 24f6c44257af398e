"""A process that finds the text of stored pages, one at a time: what a hostile page costs, it costs this process.

stdin  ◄── Question (msgpack), body as it is stored
stdout ──► the words of the page, or the first characters of its text; UTF-8
"""

import contextlib
import sys
import time
from typing import Final

import msgspec

from crawler.adapters.zstd import unpack
from crawler.core.trees import visible_text
from crawler.core.words import blanks_folded, words_of
from crawler.service import limit_memory, questions, reply, settle_down

MEMORY: Final = 512 << 20
"""Bytes of data: dense ordinary HTML takes twelve for each byte of the body."""


class Question(msgspec.Struct, array_like=True, frozen=True):
    """What goes with a body."""

    content_type: str | None
    charset: str | None
    first: int | None = None
    """How many of the first characters of the text are wanted, with its signs, and single blanks between words; None: its words."""


def main() -> None:
    """Read until nothing more comes."""
    settle_down()
    limit_memory(MEMORY)
    with contextlib.suppress(BrokenPipeError):
        for question, body in questions(sys.stdin.buffer):
            asked = msgspec.msgpack.decode(question, type=Question)
            text = visible_text(unpack(body), asked.content_type, asked.charset, time.perf_counter)
            said = words_of(text) if asked.first is None else blanks_folded(text[: asked.first])
            reply(sys.stdout.buffer, said.encode("utf-8", "replace"))


if __name__ == "__main__":
    main()
