"""Lines of a file that is read in pieces.

1. A line, however long, takes no more memory than its bound and a piece.
2. A byte order mark is none of the first line; what is no UTF-8 is U+FFFD.
"""

from typing import Final

LONGEST_LINE: Final = 1 << 16
"""Far beyond any URL that can be crawled, also before its fragment is dropped."""
_BOM: Final = b"\xef\xbb\xbf"


class Lines:
    """Pieces of a file in, its lines out, without what ends them: LF, CRLF or CR.

    Of a line of more than *longest* bytes, as much as shows that.
    """

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._rest = b""
        self._at_start = True

    @property
    def pending(self) -> bool:
        """Whether there is the beginning of a line that nothing has ended yet."""
        return bool(self._rest)

    def feed(self, piece: bytes) -> list[str]:
        """The lines that end in this piece. Of one that is too long, as much as shows that."""
        data = self._rest + piece
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1  # a CR at the end may be half of CRLF
        if not end:
            self._rest = data[: self._longest + 1]
            return []
        self._rest = data[end:]
        return self._cut(data[:end])

    def end(self) -> list[str]:
        """The last line, if nothing ended it."""
        rest, self._rest = self._rest, b""
        return self._cut(rest)

    def _cut(self, data: bytes) -> list[str]:
        if self._at_start:
            data, self._at_start = data.removeprefix(_BOM), False
        lines = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if not lines[-1]:
            del lines[-1]
        return lines
