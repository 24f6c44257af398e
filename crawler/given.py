"""The options of `crawl run` by their names in Python, for type checkers and editors. A test compares them with the command's."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from os import PathLike
from typing import Any, Literal, TypeAlias, TypedDict

Seconds: TypeAlias = float | str | timedelta
"""A number of seconds, ``"30s"``, ``"5m"``, ``"2h"``, ``"7d"``, or a timedelta."""
Bytes: TypeAlias = int | str
"""A number of bytes, ``"64KiB"``, ``"10MiB"``, ``"1MB"``."""
Several: TypeAlias = str | Iterable[str]
"""One, or several of them."""
Headers: TypeAlias = Several | Mapping[str, str] | Iterable[tuple[str, str]]
"""``{"Accept-Language": "de"}``, or ``"Accept-Language: de"``."""
Networks: TypeAlias = Several | IPv4Network | IPv6Network | Iterable[IPv4Network | IPv6Network]
Hook: TypeAlias = str | Callable[..., Any]
"""``"package.module:function"``, or the function."""


class Place(TypedDict, total=False):
    """Where the data lies: one of them at most."""

    data: str | PathLike[str] | None
    database: str | None


class Options(Place, total=False):
    """What `crawl` takes by name; `crawl run --help` tells what each of them means. None: as if it were not given."""

    file: str | PathLike[str] | None
    name: str | None
    scope: Literal["page", "prefix", "host", "domain", "any"] | None
    include: Several | None
    exclude: Several | None
    max_pages: int | None
    max_depth: int | None
    max_pages_per_domain: int | None
    delay: Seconds | None
    per_domain: int | None
    user_agent: str | None
    max_bytes: Bytes | None
    types: Several | None
    header: Headers | None
    headers: Headers | None
    ignore_robots: bool | None
    i_own: Several | None
    parser: Literal["turbohtml", "html5lib"] | None
    refresh: Seconds | None
    sitemaps: bool | None
    keep_versions: int | None
    keep_links: bool | None
    search: bool | None
    concurrency: int | None
    processes: int | None
    dns: Several | None
    allow_net: Networks | None
    proxy: str | None
    hook: Hook | Iterable[Hook] | None
    hooks: Hook | Iterable[Hook] | None
    max_time: Seconds | None
    amqp: str | None
