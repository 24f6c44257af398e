"""The index of an archive: keys as replay tools make them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from crawler.core.cdxj import line, surt

CORPUS: Final = Path(__file__).parents[1] / "corpus" / "surts.json"
"""What surt 0.3.1, as pywb 2.10 calls it, makes of canonical URLs: the web-platform cases, and odd ones of our own.

But for hosts of dots alone, of which it takes the rest for the host, and port 0, which it takes for none.
"""
AT: Final = datetime(2031, 5, 1, 12, 0, 0, 999999, UTC)

parts = st.text(st.sampled_from("aB1.%/~ &=?;:é") | st.characters(codec="ascii", categories=["L", "N", "P"]))


def test_the_keys_of_others() -> None:
    """The key is the one that pywb looks for."""
    known = dict(json.loads(CORPUS.read_text()))

    assert {url: surt(url) for url in known} == known


@given(parts, parts)
def test_a_key_is_a_key(path: str, query: str) -> None:
    """A key has no white space, and says nothing of case, `www`, the scheme and its port, whatever the path and the query are."""
    tail = "/" + path.replace("?", "").replace("#", "") + "?" + query.replace("#", "")
    key = surt(f"http://example.com{tail}")

    assert key.startswith("com,example)/")
    assert not set(key) & set(" \t\r\n\v\f\0")
    assert key.isascii()
    assert surt(f"https://www2.EXAMPLE.com:443{tail}") == key


def test_a_line() -> None:
    """A line has the key, the second, and where the record is, in the order and the words of pywb."""
    told = line(
        "http://www.example.com/B?y=2&x=1",
        AT,
        media_type="text/html",
        detected=None,
        status=200,
        digest="3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ",
        length=7,
        offset=5,
        filename="x-00000.warc.gz",
    )

    assert told == (
        b'com,example)/b?x=1&y=2 20310501120000 {"url": "http://www.example.com/B?y=2&x=1", "mime": "text/html", "status": "200",'
        b' "digest": "3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ", "length": "7", "offset": "5", "filename": "x-00000.warc.gz"}\n'
    )
