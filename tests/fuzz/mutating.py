"""Inputs nobody thought of: known ones, cut up, doubled, spliced and spoiled, for as long as there is time.

    corpus ──► pick, splice, mutate ──► input ──► the law ──► a new kind of answer? then it joins the corpus
                                                     └─ broken ──► made small ──► a file in tests/corpus/fuzz/

`CRAWL_TEST_FUZZ_SECONDS` says how long each target takes, `CRAWL_TEST_FUZZ_SEED` which dice.
Whatever was found is replayed ever after: see `kept`.
"""

import os
import random
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

SECONDS: Final = float(os.environ.get("CRAWL_TEST_FUZZ_SECONDS", "1.5"))
SEED: Final = int(os.environ.get("CRAWL_TEST_FUZZ_SEED", "0"))
KEPT: Final = Path(__file__).parent.parent / "corpus" / "fuzz"
LONGEST: Final = 4_096
SMALLER_SECONDS: Final = 5.0


def kept(target: str) -> list[Path]:
    """What was found before, for a target."""
    return sorted((KEPT / target).glob("*.txt"))


class Mutator:
    """Makes new inputs of old ones.

    Args:
        corpus: what to begin with.
        words: what is worth putting in.
    """

    def __init__(self, corpus: Sequence[bytes], words: Sequence[bytes], seed: int = SEED) -> None:
        self._corpus = [seed[:LONGEST] for seed in corpus]
        self._words = words
        self._dice = random.Random(seed)
        self._seen: set[Hashable] = set()

    def __repr__(self) -> str:
        return f"<Mutator {len(self._corpus)} in the corpus, {len(self._seen)} kinds of answers>"

    def make(self) -> bytes:
        """One more input."""
        dice = self._dice
        body = bytearray(dice.choice(self._corpus))
        if dice.random() < 0.3:
            other = dice.choice(self._corpus)
            body[self._at(body) :] = other[self._at(other) :]
        for _ in range(dice.choice((1, 1, 2, 3, 5, 8))):
            self._spoil(body)
        return bytes(body[:LONGEST])

    def learn(self, body: bytes, kind: Hashable) -> None:
        """Keep an input whose answer is of a kind not seen before."""
        if kind not in self._seen:
            self._seen.add(kind)
            self._corpus.append(body)

    def _at(self, body: bytes | bytearray) -> int:
        return self._dice.randrange(len(body) + 1)

    def _spoil(self, body: bytearray) -> None:
        dice, at = self._dice, self._at(body)
        piece = bytes(body[at : at + dice.choice((1, 2, 5, 20, 100))])
        match dice.randrange(8):
            case 0:
                del body[at : at + len(piece)]
            case 1:
                body[at:at] = piece
            case 2:
                body[at:at] = piece * dice.choice((2, 10, 100))
            case 3:
                body[at : at + 1] = dice.randbytes(1)
            case 4:
                elsewhere = self._at(body)
                body[elsewhere:elsewhere] = piece
            case 5:
                del body[at + 1 :]
            case _:
                body[at:at] = dice.choice(self._words)


def fuzz(
    target: str,
    corpus: Sequence[bytes],
    words: Sequence[bytes],
    law: Callable[[bytes], Hashable],
    seconds: float = SECONDS,
) -> int:
    """Try a law on new inputs for so many seconds: how many.

    The law returns what kind of answer it saw, and fails by an exception. The input that made it fail is made
    small and kept as a file.
    """
    mutator = Mutator(corpus, words)
    ends = time.monotonic() + seconds
    tried = 0
    while time.monotonic() < ends:
        body = mutator.make()
        try:
            mutator.learn(body, law(body))
        except Exception as broken:
            path = keep(target, _smaller(body, law))
            broken.add_note(f"the input is in {path}; seed {SEED}, number {tried}")
            raise
        tried += 1
    return tried


def keep(target: str, body: bytes) -> Path:
    """Write an input down where it is replayed ever after."""
    folder = KEPT / target
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{blake2b(body, digest_size=6).hexdigest()}.txt"
    path.write_bytes(body)
    return path


def _smaller(body: bytes, law: Callable[[bytes], Hashable]) -> bytes:
    """The same failure of fewer bytes, as far as a few seconds lead."""
    ends = time.monotonic() + SMALLER_SECONDS
    size = max(1, len(body) // 2)
    while size and time.monotonic() < ends:
        for shorter in _without(body, size):
            if _fails(law, shorter):
                body = shorter
                break
        else:
            size //= 2
    return body


def _without(body: bytes, size: int) -> Iterator[bytes]:
    return (body[:at] + body[at + size :] for at in range(0, len(body), size))


def _fails(law: Callable[[bytes], Hashable], body: bytes) -> bool:
    try:
        law(body)
    except Exception:  # noqa: BLE001 - whatever it is, it is a failure
        return True
    return False
