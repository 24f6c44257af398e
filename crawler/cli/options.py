"""What several commands share: kinds of option, how a database is named, and the settings."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from crawler.cli import Door
from crawler.core.errors import SettingsError
from crawler.settings import Loaded, load, parse_duration, parse_size, secrets_in
from crawler.telemetry import announce, configure

Command = TypeVar("Command", bound=Callable[..., Any])


class _Amount(click.ParamType):  # type: ignore[type-arg]  # click 8.2 has no arguments for it
    """An option in seconds or bytes, written as a person would."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self.parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds or bytes. A default may be a number already."""
        try:
            return self.parse(str(value))
        except SettingsError as error:
            self.fail(str(error), param, ctx)


DURATION: Final = _Amount("duration", parse_duration)
"""``30s``, ``5m``, ``2h``, ``7d`` or bare seconds, as a float of seconds."""
SIZE: Final = _Amount("size", parse_size)
"""``10MiB``, ``64KiB``, ``1MB`` or bare bytes, as an int of bytes."""


def database_options(command: Command) -> Command:
    """The options ``--data`` and ``--database``, as parameters `data` and `database`: one at most."""
    data = click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        callback=_not_both("database"),
        help="The folder of the embedded database. [default: the user's data folder]",
    )
    database = click.option(
        "--database",
        metavar="DSN",
        callback=_not_both("data"),
        help="A PostgreSQL server instead, such as postgresql://crawl@localhost/crawl",
    )
    return data(database(command))


def queue_options(command: Command) -> Command:
    """`database_options`, and ``--amqp`` as parameter `amqp`: for who puts turns on the queue, or takes them."""
    amqp = click.option(
        "--amqp",
        metavar="URL",
        help="RabbitMQ, which carries the turns, such as amqp://crawl:password@localhost/crawl"
        " [default: PostgreSQL carries them]",
    )
    return database_options(amqp(command))


def reach_options(command: Command) -> Command:
    """What may be reached, and how: ``--dns``, ``--allow-net`` and ``--proxy``, as parameters `dns`, `allow_net` and `proxy`."""
    dns = click.option("--dns", metavar="IP[:PORT],...", help="DNS servers to ask. [default: the system's]")
    allow_net = click.option(
        "--allow-net",
        multiple=True,
        metavar="CIDR",
        help="A private network that may be fetched from; may be repeated.",
    )
    proxy = click.option(
        "--proxy",
        metavar="URL",
        help="An HTTP proxy for every request, such as http://user:password@host:3128",
    )
    return dns(allow_net(proxy(command)))


def fetch_options(command: Command) -> Command:
    """How much is fetched at once, and with what hooks, as parameters `concurrency`, `processes` and `hooks`; and `reach_options`."""
    concurrency = click.option(
        "--concurrency", type=click.IntRange(1), help="Domains at once, in each process. [default: 200]"
    )
    processes = click.option(
        "--processes", type=click.IntRange(1, 1024), help="Processes to fetch with. [default: 1]"
    )
    hooks = click.option(
        "--hook",
        "hooks",
        multiple=True,
        metavar="MODULE:FUNCTION",
        help="A function to be called with each page; may be repeated.",
    )
    return concurrency(processes(hooks(reach_options(command))))


def log_options(command: Command) -> Command:
    """How the log is written, as parameter `log_format`: for what runs for long."""
    log_format = click.option(
        "--log-format",
        type=click.Choice(["console", "json"]),
        help="How the log is written to stderr: for a person, or an object a line. [default: console]",
    )
    return log_format(command)


def metrics_options(command: Command) -> Command:
    """Where /metrics, /healthz and /readyz are, as parameters `metrics_host` and `metrics_port`."""
    host = click.option(
        "--host", "metrics_host", metavar="ADDRESS", help="Where --port listens. [default: 127.0.0.1]"
    )
    port = click.option(
        "--port",
        "metrics_port",
        type=click.IntRange(0, 65535),
        help="Tell how it is at /metrics, /healthz and /readyz of this port; 0: any free one. [default: nowhere]",
    )
    return port(host(command))


_SETTINGS: Final = {
    "data": "data", "database": "database_url", "amqp": "amqp_url", "concurrency": "domains_at_once", "processes": "processes",
    "dns": "dns_servers", "allow_net": "allow_nets", "proxy": "proxy",
    "metrics_host": "metrics_host", "metrics_port": "metrics_port", "log_format": "log_format",
    "hooks": "hooks",
}  # fmt: skip
"""The settings that the options above give, by parameter."""


def overrides_of(params: Mapping[str, Any]) -> dict[str, object]:
    """What the options above say to the settings, by the name of the setting."""
    return {setting: _given(params.get(option)) for option, setting in _SETTINGS.items()}


def settings_from(ctx: click.Context, **overrides: object) -> Loaded:
    """The settings for this command, with what its own options say on top; warnings go to stderr, and the log as they say.

    The options above are taken from the context. Raises SettingsError.
    """
    door = ctx.find_object(Door)
    named = overrides_of(ctx.params)
    if door is not None and door.debug:
        named["log_level"] = "debug"
    loaded = load(overrides={**named, **overrides}, environ=os.environ, config=door.config if door else None)
    settings = loaded.settings
    secrets = secrets_in(settings)
    configure(form=settings.log_format, level=settings.log_level, secrets=secrets)
    if door is not None:
        door.secrets = secrets
    for warning in loaded.warnings:
        announce(settings.log_format, warning, "setting.doubted", level="warning")
    return loaded


def _given(value: Any) -> Any:
    """What an option says, as a setting takes it: what may be repeated, with commas between."""
    return ",".join(value) if isinstance(value, tuple) else value


def _not_both(other: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def check(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        if value is not None and ctx.params.get(other) is not None:
            raise click.UsageError(f"--{param.name} and --{other} exclude each other: give one of them", ctx)
        return value

    return check
