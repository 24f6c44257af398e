"""Whether what the files for containers name exists: each rule yields a line for each name that leads nowhere."""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click

from crawler import __version__
from crawler.cli import Door, group
from crawler.core.errors import SettingsError
from crawler.core.metrics import BOTH, SCHEDULER, SURVEY, WORKER
from crawler.dashboard import standing
from crawler.settings import FIELDS, load
from crawler.sources import variable
from tests.deploy.files import ROOT, family
from tests.deploy.parts import Document, Part

LISTEN: Final[Mapping[str, frozenset[int]]] = MappingProxyType(
    {
        "postgres": frozenset({5432}),
        "rabbitmq": frozenset({5672, 15672, 15692}),
        "prometheus": frozenset({9090}),
        "alertmanager": frozenset({9093}),
        "grafana": frozenset({3000}),
        "node-exporter": frozenset({9100}),
        "cadvisor": frozenset({8080}),
        "traefik": frozenset({80, 443}),
        "socket": frozenset({2375}),
    }
)
"""Where services that are not ours listen."""
ANSWERS: Final = frozenset({"/metrics", "/healthz", "/readyz"})
"""What a worker and a scheduler answer; a test asks them."""
IMAGE: Final[Mapping[str, str]] = MappingProxyType(
    {"CRAWL_METRICS_HOST": "0.0.0.0", "CRAWL_METRICS_PORT": "9100"}
)
"""The environment that deploy/Dockerfile gives; a test compares."""
VARIABLES: Final = frozenset(
    {"CRAWL_CONFIG"} | {variable(name) + end for name in FIELDS for end in ("", "_FILE")}
)
METRICS: Final = frozenset({*BOTH, *SCHEDULER, *SURVEY, *WORKER})
SERVERS: Final = frozenset({"worker", "scheduler", "dashboard"})


def usage(words: Sequence[str]) -> str:
    """What the program has against a command line, without doing anything; empty: nothing. Files that are named need not exist."""
    context = click.Context(group, info_name="crawl", obj=Door())
    command: click.Command = group
    try:
        rest = list(words)
        while isinstance(command, click.Group):
            name, found, rest = _resolved(command, context, rest)
            context = click.Context(found, info_name=name, parent=context)
            command = found
        command.make_context(context.info_name, rest, parent=context.parent)
    except click.exceptions.NoArgsIsHelpError:
        return "it says nothing to do"
    except click.exceptions.Exit:
        return ""
    except click.BadParameter as error:
        return "" if "does not exist" in error.format_message() else error.format_message()
    except click.UsageError as error:
        return error.format_message()
    return ""


def _resolved(
    command: click.Group, context: click.Context, words: list[str]
) -> tuple[str, click.Command, list[str]]:
    """The command that comes next, after options of the group itself."""
    values, rest, _ = command.make_parser(context).parse_args(words)
    if not rest:
        if values:
            raise click.exceptions.Exit
        raise click.UsageError("it names no command", context)
    found = command.get_command(context, rest[0])
    if found is None:
        raise click.UsageError(f"there is no command {rest[0]}", context)
    return rest[0], found, rest[1:]


def lost_commands(parts: Iterable[Part]) -> Iterator[str]:
    """Commands and options that the program does not have."""
    for part in parts:
        if part.ours and part.words and (said := usage(part.words)):
            yield f"{part.where}: crawl {shlex.join(part.words)}: {said}"


def wrong_settings(parts: Iterable[Part]) -> Iterator[str]:
    """Variables that no setting has, and values that it does not take."""
    for part in parts:
        if not part.ours:
            continue
        environment = {
            name: value for name, value in {**IMAGE, **part.environment}.items() if name.startswith("CRAWL_")
        }
        try:
            found = load(overrides={}, environ=environment, secrets_dir=Path("/nonexistent"))
        except SettingsError as error:
            yield f"{part.where}: {error}"
        else:
            yield from (f"{part.where}: {warning}" for warning in found.warnings)


def lost_variables(text: str, where: str) -> Iterator[str]:
    """CRAWL_... that is no setting, anywhere in a text: also in comments."""
    for name in sorted(set(re.findall(r"\bCRAWL_[A-Z][A-Z_]*[A-Z]\b", text)) - VARIABLES):
        yield f"{where}: there is no setting {name}"


def lost_secrets(parts: Iterable[Part]) -> Iterator[str]:
    """Secrets called as settings are, that none is."""
    for part in parts:
        for name in sorted(part.secrets):
            if name.startswith("crawl_") and name.removeprefix("crawl_") not in FIELDS:
                yield f"{part.where}: there is no setting for the secret {name}"


def lacking(parts: Iterable[Part]) -> Iterator[str]:
    """Programs without what they cannot work without: the database, the broker, a token."""
    wanted = {
        "worker": {"crawl_database_url", "crawl_amqp_url"},
        "dashboard": {"crawl_database_url", "crawl_amqp_url", "crawl_api_token"},
    }
    wanted |= {"scheduler": wanted["worker"], "migrate": {"crawl_database_url"}}
    for part in parts:
        needs = wanted.get(part.words[0], set()) if part.ours and part.words else set()
        yield from (f"{part.where}: has no secret {name}" for name in sorted(needs - part.secrets))


def listening(part: Part) -> frozenset[int]:
    """The ports at which a container answers."""
    if not part.ours:
        return LISTEN.get(part.name, frozenset())
    if not part.words or part.words[0] not in SERVERS:
        return frozenset()
    own = {int(part.environment.get("CRAWL_METRICS_PORT") or IMAGE["CRAWL_METRICS_PORT"])}
    if part.words[0] == "dashboard":
        command = group.get_command(click.Context(group), "dashboard")
        assert command is not None
        own.add(int(command.make_context("dashboard", list(part.words[1:])).params["port"]))
    return frozenset(own)


def lost_ports(parts: Iterable[Part]) -> Iterator[str]:
    """Ports that are named or probed, and at which nobody listens."""
    for part in parts:
        open_ports = listening(part)
        yield from (
            f"{part.where}: nothing listens at port {port}"
            for port in part.ports.values()
            if port not in open_ports
        )
        for probe in part.probes:
            port = part.ports.get(probe.port, probe.port) if isinstance(probe.port, str) else probe.port
            if port not in open_ports:
                yield f"{part.where}: a probe asks port {port}"
            elif part.ours and probe.path not in answered(part, int(port)):
                yield f"{part.where}: nothing answers at {probe.path}"


def answered(part: Part, port: int) -> frozenset[str]:
    """The paths that one of ours answers at one of its ports, of those that machines ask."""
    metrics = int(part.environment.get("CRAWL_METRICS_PORT") or IMAGE["CRAWL_METRICS_PORT"])
    return (
        ANSWERS if port == metrics else frozenset(getattr(one, "path", "") for one in standing.router.routes)
    )


def sought(prometheus: Document, parts: Sequence[Part]) -> Iterator[str]:
    """What Prometheus looks for by names and ports that nobody has."""
    by_name = {part.name: part for part in parts}
    for job in prometheus["scrape_configs"]:
        for one in job["dns_sd_configs"]:
            for name in one["names"]:
                if name not in by_name:
                    yield f"{job['job_name']}: there is no {name}"
                elif one["port"] not in listening(by_name[name]):
                    yield f"{job['job_name']}: {name} does not listen at port {one['port']}"


def lost_metrics(text: str, where: str) -> Iterator[str]:
    """Names that look like metrics of ours, and are none: not a secret's name either, nor a table's."""
    secrets = {f"crawl_{name}" for name in FIELDS}
    for name in sorted(set(re.findall(r"(?<![\w.:/-])crawl_[a-z_]+[a-z]\b(?!:)", text))):
        if family(name) not in METRICS and name not in METRICS and name not in secrets:
            yield f"{where}: there is no metric {name}"


def lost_files(document: Document, folder: Path, made: frozenset[str]) -> Iterator[str]:
    """Files that are mounted and do not exist. *made*: those of secrets/ that `make secrets` makes."""
    for kind in ("configs", "secrets"):
        for name, one in document.get(kind, {}).items():
            if "file" in one:
                yield from _lost_file(one["file"], f"{kind}: {name}", folder, made)
    for name, service in document["services"].items():
        for volume in service.get("volumes", ()):
            source = _bound(volume)
            if source.startswith("."):
                yield from _lost_file(source, name, folder, made)


def _bound(volume: Any) -> str:
    if isinstance(volume, str):
        return volume.partition(":")[0]
    return str(volume.get("source", "")) if volume["type"] == "bind" else ""


def _lost_file(path: str, where: str, folder: Path, made: frozenset[str]) -> Iterator[str]:
    file = (folder / path).resolve()
    if file.parent == ROOT / "secrets":
        if file.name not in made:
            yield f"{where}: nothing makes {path}"
    elif not file.exists():
        yield f"{where}: there is no {path}"


def other_versions(parts: Iterable[Part]) -> Iterator[str]:
    """Images of ours that are not of this version, and of others that are of any."""
    for part in parts:
        if part.ours and part.tag != __version__:
            yield f"{part.where}: is of version {part.tag}, and the program of {__version__}"
        if not part.tag or part.tag == "latest":
            yield f"{part.where}: is of any version"


OF_PARTS: Final[Sequence[Callable[[Sequence[Part]], Iterator[str]]]] = (
    lost_commands, wrong_settings, lost_secrets, lacking, lost_ports, other_versions,
)  # fmt: skip


def faults(parts: Sequence[Part]) -> list[str]:
    """What all rules say of containers."""
    return [fault for rule in OF_PARTS for fault in rule(parts)]
