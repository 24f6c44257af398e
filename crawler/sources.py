"""Where settings are given: a file, secret files, the environment, the command line.

    default ◄─ TOML file ◄─ secret file ◄─ environment CRAWL_X ◄─ command line        the later wins

1. A name nobody knows is never passed over in silence: an error in a file, a warning in the environment.
2. What is empty counts as not given: so does an empty secret file, which somebody had to make.
3. `CRAWL_X` wins over `CRAWL_X_FILE`, with a warning when both are given; `CRAWL_X_FILE` over `/run/secrets`.
"""

import difflib
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final

from crawler.core.errors import SettingsError

PREFIX: Final = "CRAWL_"


class Rank(IntEnum):
    """Which source wins: the higher."""

    FILE = 1
    SECRET = 2
    ENVIRONMENT = 3
    COMMAND_LINE = 4


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody gave, not read yet."""

    name: str
    value: object = field(repr=False)
    origin: str
    rank: Rank
    folder: Path | None = None
    """What a relative path is relative to, if not to where we are: a file's paths start at the file."""


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def gather(
    names: Collection[str],
    *,
    overrides: Mapping[str, object],
    environ: Mapping[str, str],
    config: Path | None,
    secrets_dir: Path,
) -> dict[str, Given]:
    """What is given for each name, by the source that wins. Raises SettingsError."""
    if config is None and environ.get("CRAWL_CONFIG"):
        config = Path(environ["CRAWL_CONFIG"])
    given = [
        *(_from_file(names, config.expanduser()) if config else ()),
        *_from_secrets(names, environ, secrets_dir),
        *(
            Given(name, environ[variable(name)], f"environment {variable(name)}", Rank.ENVIRONMENT)
            for name in names
            if environ.get(variable(name), "").strip()
        ),
        *(
            Given(name, value, "command line", Rank.COMMAND_LINE)
            for name, value in overrides.items()
            if value not in (None, "", ())
        ),
    ]
    return {one.name: one for one in given}


def oddities(names: Collection[str], environ: Mapping[str, str]) -> Iterator[str]:
    """What the environment says to no effect, one line each."""
    known = {"CRAWL_CONFIG"} | {variable(name) + end for name in names for end in ("", "_FILE")}
    for key in sorted(environ):
        if key.startswith(PREFIX) and key not in known and not key.startswith("CRAWL_TEST_"):
            yield f"nothing reads the environment variable {key}{_nearest(key, known)}"
    for key in map(variable, names):
        if environ.get(key, "").strip() and environ.get(f"{key}_FILE", "").strip():
            yield f"{key}_FILE is not read, because {key} is given too: unset one of them"


def _from_file(names: Collection[str], path: Path) -> Iterator[Given]:
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f'{path}: not TOML: {error}; write lines such as delay = "5s"') from None
    for name, value in table.items():
        if name not in names:
            tables = "; settings stand by themselves, without [tables]" if isinstance(value, dict) else ""
            raise SettingsError(f'{path}: there is no setting "{name}"{_nearest(name, names)}{tables}')
        if value not in ("", []):
            yield Given(name, value, f"file {path}", Rank.FILE, path.parent)


def _from_secrets(names: Collection[str], environ: Mapping[str, str], folder: Path) -> Iterator[Given]:
    for name in names:
        if environ.get(variable(name), "").strip():
            continue
        named = environ.get(f"{variable(name)}_FILE", "").strip()
        path = Path(named) if named else folder / f"crawl_{name}"
        # What is no whole path may be the secret itself, put there by mistake: it is not shown.
        shown = f"{path}" if path.is_absolute() else f"that {variable(name)}_FILE names"
        try:
            text = path.read_text("utf-8-sig").strip()  # some editors begin a text with a mark
        except OSError as error:
            if not named and isinstance(error, (FileNotFoundError, NotADirectoryError)):
                continue
            raise SettingsError(
                f"{name} from secret file {shown}: cannot be read: {error.strerror}"
            ) from None
        except UnicodeDecodeError:
            raise SettingsError(f"{name} from secret file {shown}: not text in UTF-8") from None
        if text:
            yield Given(name, text, f"secret file {path}", Rank.SECRET)


def _nearest(name: str, known: Collection[str]) -> str:
    spelled = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower().removeprefix("crawl_"), spelled, n=1) or (
        difflib.get_close_matches(name.lower(), spelled, n=1)
    )
    return f" (did you mean {spelled[near[0]]}?)" if near else ""
