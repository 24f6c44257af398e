"""Sorting what does not fit into memory is sorting."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from crawler.sorting import RUNS, Sorter

LINES = st.lists(st.binary(max_size=6).map(lambda line: line.replace(b"\n", b"")), max_size=60)


@given(LINES, st.integers(1, 2000))
def test_lines_come_sorted_and_once(lines: list[bytes], run_bytes: int) -> None:
    """However small the runs are, the lines come as `sorted(set(lines))`, and nothing is left on disk."""
    with TemporaryDirectory() as name:
        folder = Path(name) / "runs"
        with Sorter(folder, run_bytes) as sorter:
            for line in lines:
                sorter.add(line)
            found = list(sorter)

        assert found == sorted(set(lines))
        assert not folder.exists()


def test_more_runs_than_files_may_be_open(tmp_path: Path) -> None:
    """Many runs become one longer run before there are too many of them."""
    lines = [b"%d" % (n * 7919 % 1000) for n in range(RUNS * 3)]
    with Sorter(tmp_path / "runs", 1) as sorter:
        for line in lines:
            sorter.add(line)
        files = list((tmp_path / "runs").iterdir())

        assert len(files) <= RUNS + 1
        assert list(sorter) == sorted(set(lines))


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    """Runs of an earlier one, in the same folder, are not taken for one's own."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "0").write_bytes(b"old\n")
    with Sorter(tmp_path / "runs", 1) as sorter:
        sorter.add(b"new")

        assert list(sorter) == [b"new"]
