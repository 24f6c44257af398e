"""Pages as WARC: a series of files, and the index by which replay tools find them.

    docs-00000.warc.gz    each appears when it is whole; of 1 GB at most, unless one page has more
    docs-00001.warc.gz
    docs.cdxj             appears in the end: the sorted index of all files
    .docs-*.part, .docs.cdxj.lines, .docs.firsts, .docs.firsts.table     what there is so far

1. A body stands once in an export: later pages that have it refer to the first one (`crawler.firsts`).
2. The same pages in the same order are the same bytes, interrupted in between or not.
3. What stands there of another export is not replaced: an archive is kept.
4. Pages that never got an answer are not in an archive.
"""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from crawler.adapters.members import member
from crawler.captures import capture_of, facts_of_file
from crawler.core.cdxj import line
from crawler.core.errors import UsageError
from crawler.core.model import Crawl
from crawler.core.warc import Capture, Earlier, Records, sha1, warc_date, warcinfo
from crawler.export_files import is_stream, replace, sync_folder, telling
from crawler.firsts import Firsts
from crawler.sorting import Sorter
from crawler.warc_files import Names, Series, refuse_archive, refuse_shorter

GB: Final = 1_000_000_000
"""What archives keep in one file, by custom."""
LEAST: Final = 64_000_000
"""Bytes from one pause to the next: each waits for the disk."""
REVISIT: Final = "warc/revisit"
NO_TYPE: Final = "unk"
"""As indexes say it."""


class WarcWriter:
    """A series of WARC files.

    Args:
        output: what their names begin with (``docs``, ``docs.warc.gz``; with ``docs.warc`` they are not compressed), or a folder.
        crawl: whose pages they are.
        resumed: what `pause` answered.
        size: bytes of a file at most, unless one page has more.
        least: bytes from one pause to the next.

    Raises:
        UsageError: it is no place for files, or holds an archive already.
        FaircrawlError: what was to be gone on with is gone.
    """

    def __init__(
        self,
        output: Path,
        crawl: Crawl,
        resumed: Mapping[str, Any] | None = None,
        *,
        size: int = GB,
        least: int = LEAST,
    ) -> None:
        if is_stream(output):
            raise UsageError("WARC is a series of files: say what their names begin with, such as -o docs")
        self._crawl = crawl
        self._least = least
        self._names = names = Names.of(output, crawl.name)
        self._useful = resumed is not None
        known = dict.fromkeys(("file", "offset", "lines", "firsts", "records", "pages"), 0) | dict(
            resumed or {}
        )
        self.records: int = known["records"]
        """How many there are, those that begin the files included."""
        self._pages: int = known["pages"]
        self._paused = 0
        with telling(names.index), contextlib.ExitStack() as undo:
            if not self._useful:
                refuse_archive(names)
            refuse_shorter(names.spool, known["lines"])
            refuse_shorter(names.firsts, known["firsts"])
            self._firsts = Firsts(names.firsts, known["firsts"])
            undo.callback(self._firsts.close)
            self._lines = undo.enter_context(names.spool.open("r+b" if known["lines"] else "wb"))
            self._lines.truncate(known["lines"])
            self._lines.seek(known["lines"])
            self._files = Series(names, size, known["file"], known["offset"])
            undo.pop_all()

    def add(self, row: Any) -> None:
        """Write a page, if there ever was an answer. Raises FaircrawlError; DatabaseError: its body is damaged."""
        if row["status"] is None:
            return
        digest: bytes | None = row["digest"]
        with telling(self._names.index):
            earlier = self._firsts.first(digest) if digest is not None and row["length"] else None
            capture = capture_of(row, with_body=earlier is None)
            sha = sha1(capture.body or b"") if earlier is None else earlier.digest
            media_type = (capture.sent_type or NO_TYPE) if earlier is None else REVISIT
            self._write(capture, Records(capture, self._crawl.name, earlier), sha, media_type)
            if earlier is None and digest is not None and capture.body:
                self._firsts.add(digest, Earlier(capture.url, capture.at, sha, len(capture.body)))
        self._pages += 1

    def pause(self) -> Mapping[str, Any] | None:
        """All is on disk: how far each file goes. None: too little has come since the last time."""
        files = self._files
        if files.written - self._paused < self._least:
            return None
        with telling(self._names.index):
            files.sync()
            self._lines.flush()
            os.fsync(self._lines.fileno())
            ends = {"lines": self._lines.tell(), "firsts": self._firsts.sync()}
            sync_folder(self._names.folder)
        self._paused, self._useful = files.written, True
        counts = {"records": self.records, "pages": self._pages}
        return {"file": files.number, "offset": files.offset, **ends, **counts}

    def close(self) -> int:
        """The last file appears, and the index: how many pages there are."""
        names = self._names
        runs, part = names.hidden("cdxj.runs"), names.hidden("cdxj.part")
        with telling(names.index):
            self._files.end()
            self._lines.close()
            with Sorter(runs) as sorter, names.spool.open("rb") as lines, part.open("wb") as out:
                for entry in lines:
                    sorter.add(entry[:-1])
                out.writelines(entry + b"\n" for entry in sorter)
                out.flush()
                os.fsync(out.fileno())
            replace(part, names.index)
            self._useful = True  # from here on it is an archive, whatever happens
            names.spool.unlink()
            self._firsts.discard()
        return self._pages

    def drop(self) -> None:
        """What there was at the last pause stays, for who goes on with it; if there was none, all goes."""
        self._files.drop()
        with contextlib.suppress(OSError):  # of the room that is lacking we heard already
            self._lines.close()
        if self._useful:
            self._firsts.close()
            return
        with contextlib.suppress(OSError):
            self._firsts.discard()
            self._names.clear(0)
            self._names.spool.unlink(missing_ok=True)
            self._names.hidden("cdxj.part").unlink(missing_ok=True)

    def _write(self, capture: Capture, records: Records, digest: str, media_type: str) -> None:
        """The records of a page, one behind the other, and the line of the index for its answer."""
        asked = records.request()
        before = b"" if asked is None else self._packed(asked)
        packed, after = self._packed(records.answer(digest)), self._packed(records.metadata())
        files = self._files
        if files.begins(len(before) + len(packed) + len(after)):
            # Of the moment of its first page, and not of now (law 2).
            facts = facts_of_file(self._crawl, capture.request_headers)
            files.write(
                self._packed(warcinfo(self._crawl.name, files.file.name, warc_date(capture.at), facts))
            )
            self.records += 1
        entry = line(
            capture.url,
            capture.at,
            media_type=media_type,
            detected=None if media_type == REVISIT else capture.media_type,
            status=capture.status,
            digest=digest,
            length=len(packed),
            offset=files.offset + len(before),
            filename=files.file.name,
        )
        files.write(before + packed + after)
        self._lines.write(entry)
        self.records += 3 if before else 2

    def _packed(self, record: bytes) -> bytes:
        return member(record) if self._names.compressed else record
