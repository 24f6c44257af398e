"""`crawl run` as a function: what may be said of a crawl by name, as Python says it.

    crawl(max_time=timedelta(hours=1), include=["/docs/"])
        ──► --max-time 3600s --include /docs/ ──► the command `crawl run` reads it, with all its checks ──► Call

1. The options are those of the command: one that it gets is there too, under its long name and under that of its parameter.
2. What is wrong is told at once, before anything is begun: a strange name as a TypeError, a bad value as a UsageError.
"""

import difflib
import inspect
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from numbers import Real
from os import PathLike
from typing import Any, Final

import click

from crawler.adapters.crawls import Wish
from crawler.cli.options import overrides_of
from crawler.cli.run import command
from crawler.core.errors import UsageError
from crawler.hooking import hook_name
from crawler.phrases import seen
from crawler.settings import Settings, load
from crawler.wishing import seeds_asked, wish_by

OF_THE_TERMINAL: Final[Mapping[str, str]] = {
    "export_file": "the pages are handed over",
    "quiet": "nothing is shown",
    "as_json": "the summary is an object",
    "log_format": "the log is the program's own",
}
"""The options of `crawl run` that a function has no use for, and what it has instead."""


WHOLE: Final = (str, bytes, PathLike, Mapping, IPv4Network, IPv6Network)
"""What one may iterate over, and is one value all the same."""


@dataclass(frozen=True, slots=True)
class Call:
    """A crawl that was asked for, and found good."""

    settings: Settings
    wish: Wish
    seeds: tuple[str, ...]
    max_time: float | None
    """Seconds."""


@cache
def options() -> Mapping[str, click.Option]:
    """The options by the names that a caller may use: of ``--header`` `headers`, as its parameter is called, and `header`."""
    found: dict[str, click.Option] = {}
    for param in command.params:
        if isinstance(param, click.Option) and param.name is not None and param.name not in OF_THE_TERMINAL:
            found[param.name] = param
            found[_long(param).removeprefix("--").replace("-", "_")] = param
    return found


def called(seeds: Iterable[object], given: Mapping[str, Any]) -> Call:
    """What was asked for.

    Raises:
        TypeError: an option of that name does not exist, or it is given under both of its names.
        UsageError: a seed or an option is not as it has to be, or does not fit the others.
    """
    words = [*_words(given)]
    try:
        params = command.make_context("crawl", words).params
    except click.UsageError as error:
        raise UsageError(as_python(error.format_message().rstrip("."))) from None
    try:
        return _read(tuple(_urls(seeds)), params)
    except UsageError as error:
        raise type(error)(as_python(str(error))) from None


def as_python(text: str) -> str:
    """What the command says, in the words of a caller: ``--max-pages`` is ``max_pages``."""
    text = re.sub(r"^Invalid value for '(--[a-z-]+)'", r"\1", text)
    return re.sub(
        r"--([a-z][a-z-]*)",
        lambda found: name if (name := found[1].replace("-", "_")) in options() else found[0],
        text,
    )


def refuse_strange(name: str, known: Iterable[str], function: str) -> None:
    """Raises TypeError: there is no argument of that name; it names the nearest."""
    near = difflib.get_close_matches(name, [*known], n=1)
    hint = f": did you mean {near[0]}?" if near else ""
    raise TypeError(f"{function}() has no option {name!r}{hint}")


def signature(function: Any) -> inspect.Signature:
    """The signature of a function that takes ``**options``, with all of them in it."""
    own = inspect.signature(function)
    named = [one for one in own.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    more = (
        inspect.Parameter(str(param.name), inspect.Parameter.KEYWORD_ONLY, default=None)
        for param in dict.fromkeys(options().values())
    )
    return own.replace(parameters=[*named, *more])


def _words(given: Mapping[str, Any]) -> Iterator[str]:
    said: dict[str, str] = {}
    for name, value in given.items():
        if name not in options():
            refuse_strange(name, options(), "crawl")
        param = options()[name]
        if (other := said.setdefault(str(param.name), name)) != name:
            raise TypeError(f"crawl() got {other} and {name}, which are the same: give one of them")
        yield from _said(param, name, value)


def _said(param: click.Option, name: str, value: Any) -> Iterator[str]:
    if value is None:
        return
    if param.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{name}: {seen(repr(value))} is not True or False")
        if value or param.secondary_opts:
            yield _long(param) if value else param.secondary_opts[0]
        return
    if isinstance(value, Mapping) and param.name == "headers":
        value = [*value.items()]
    texts = [_text(param, name, one) for one in _several(value)]
    for text in texts if param.multiple else [",".join(texts)]:
        yield f"{_long(param)}={text}"


def _several(value: Any) -> Sequence[Any]:
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return [*value] if isinstance(value, Iterable) and not isinstance(value, WHOLE) else (value,)


def _text(param: click.Option, name: str, value: Any) -> str:
    """A value as a person would write it. Raises UsageError: nobody would, as its repr."""
    match value:
        case bool():
            raise UsageError(f"{name}: {value} is no value for it")
        case timedelta():
            whole = not value.microseconds
            return f"{value // timedelta(seconds=1)}s" if whole else f"{value // timedelta(milliseconds=1)}ms"
        case Enum():
            return str(value.value)
        case (str(), str() | int() | float()) if param.name == "headers":
            return f"{value[0]}: {value[1]}"
        case _ if callable(value) and param.name == "hooks":
            return hook_name(value)
        case (
            str()
            | Real()
            | Decimal()
            | PathLike()
            | IPv4Address()
            | IPv6Address()
            | IPv4Network()
            | IPv6Network()
        ):
            return str(value)
        case _:
            raise UsageError(f"{name}: {seen(repr(value))} is no value for it")


def _long(param: click.Option) -> str:
    return next(opt for opt in param.opts if opt.startswith("--"))


def _urls(seeds: Iterable[object]) -> Iterator[str]:
    for one in seeds:
        if isinstance(one, str):
            yield one
        elif isinstance(one, Iterable) and not isinstance(one, (bytes, Mapping)):
            yield from _urls(one)
        else:
            raise UsageError(f"{seen(repr(one))} is no URL: give text, or several of them in a list")


def _read(urls: tuple[str, ...], params: dict[str, Any]) -> Call:
    if not urls and params["file"] is None:
        raise UsageError('no URL to begin with: name one, as in crawl("https://example.com/")')
    seeds = seeds_asked(urls, params)
    loaded = load(
        overrides={**overrides_of(params), "user_agent": params["user_agent"]},
        environ=os.environ,
    )
    for line in (*seeds.bad[:3], *loaded.warnings):
        warnings.warn(seen(line), stacklevel=4)  # where crawl() was called
    settings = loaded.settings
    return Call(settings, wish_by(seeds, params, settings), seeds.urls, params["max_time"])
