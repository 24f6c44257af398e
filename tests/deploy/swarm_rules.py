"""What a swarm would pass over, refuse or regret in the stack: each rule yields a line for each fault that it finds."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import yaml

from crawler.dashboard.auth import OPEN, OPEN_BELOW
from crawler.settings import Settings, parse_duration, parse_size
from tests.deploy.parts import STACK, Document, one_name, read

HONOURED: Final = frozenset(
    """
    cap_add cap_drop command configs deploy dns dns_search entrypoint env_file environment extra_hosts healthcheck hostname image init
    labels logging networks ports read_only secrets stdin_open stop_grace_period stop_signal sysctls tty ulimits user volumes
    working_dir
    """.split()  # noqa: SIM905  # thirty pairs of quotes would hide the names
)
"""The keys of a service that `docker stack deploy` heeds: the others it passes over, or refuses."""
KINDS: Final = ("networks", "secrets", "configs", "volumes")
UNASKED: Final = frozenset({"migrate", "socket"})
"""Services without a health check: one ends by itself, and the other's image has nothing to ask with."""
EDGE: Final = {("traefik", 80), ("traefik", 443)}
SOCKET: Final = "/var/run/docker.sock"
GUARDED: Final = frozenset(
    {"/", "/api/crawls", "/crawls", "/login", "/metrics", "/docs", "/healthz", "/readyz", "/botany"}
)
"""Paths that are nobody's but those who are let in."""


def stack() -> Document:
    """The stack, as an environment makes it that gives what must be given."""
    return read(STACK)


def deployments(document: Document) -> Iterator[tuple[str, Document, Document]]:
    """Each service: its name, all of it, and how it is deployed."""
    for name, one in document["services"].items():
        yield name, one, one.get("deploy", {})


def is_job(deploy: Document) -> bool:
    """Whether it ends by itself."""
    return str(deploy.get("mode", "")).endswith("-job")


def unheard(document: Document) -> Iterator[str]:
    """What a swarm does not do."""
    for name, one, _ in deployments(document):
        yield from (f"{name}: a swarm knows no {key}" for key in sorted(set(one) - HONOURED))


def _used(document: Document, kind: str) -> set[str]:
    found = set()
    for one in document["services"].values():
        for named in one.get(kind, ()):
            if kind != "volumes":
                found.add(one_name(named))
            elif isinstance(named, str) or named["type"] == "volume":
                found.add(named.partition(":")[0] if isinstance(named, str) else named["source"])
    return found


def undeclared(document: Document) -> Iterator[str]:
    """What is used and not declared, or declared and not used."""
    for kind in KINDS:
        declared, used = set(document.get(kind, ())), _used(document, kind)
        yield from (f"{kind}: {name} is not declared" for name in sorted(used - declared))
        yield from (f"{kind}: {name} is used by nobody" for name in sorted(declared - used))


def unmounted(document: Document) -> Iterator[str]:
    """Files under /run/secrets that a service reads and does not have; those in labels are read by Traefik."""
    for name, one, deploy in deployments(document):
        own = {key: one[key] for key in ("command", "entrypoint", "environment") if key in one}
        for reader, text in (
            (name, yaml.safe_dump(own)),
            ("traefik", yaml.safe_dump(deploy.get("labels", {}))),
        ):
            has = {
                one_name(secret, "target")
                for secret in document["services"].get(reader, {}).get("secrets", ())
            }
            yield from (
                f"{reader}: has no secret {secret}"
                for secret in re.findall(r"/run/secrets/(\w+)", text)
                if secret not in has
            )


def exposed(document: Document) -> Iterator[str]:
    """What strangers, or the network between the machines, could see."""
    published = {
        (name, port["published"]) for name, one, _ in deployments(document) for port in one.get("ports", ())
    }
    yield from (f"{name}: port {port} is published" for name, port in sorted(published - EDGE))
    for name, one in document["networks"].items():
        if one.get("driver") != "overlay" or one.get("driver_opts", {}).get("encrypted") != "true":
            yield f"{name}: not an encrypted overlay"
    for name, one in document["secrets"].items():
        if one.get("external") is not True:
            yield f"{name}: a secret stands outside of the stack"
    for name, one, _ in deployments(document):
        held = [volume for volume in one.get("volumes", ()) if SOCKET in str(volume)]
        if held and ("ports" in one or {"crawl", "public"} & set(one["networks"])):
            yield f"{name}: has Docker's socket, and can be reached"


def careless(document: Document) -> Iterator[str]:
    """What would bring a swarm, or a deployment, into trouble."""
    for name, one, deploy in deployments(document):
        resources = deploy.get("resources", {})
        least, most = (resources.get(key, {}).get("memory") for key in ("reservations", "limits"))
        if not least or not most or not parse_size(f"{least}iB") < parse_size(f"{most}iB"):
            yield f"{name}: needs memory that is reserved, and a limit above it"
        if not deploy.get("placement", {}).get("constraints"):
            yield f"{name}: may be put on any machine"
        if one.get("logging", {}).get("options", {}).keys() < {"max-size", "max-file"}:
            yield f"{name}: its log grows without end"
        if name not in UNASKED and "test" not in one.get("healthcheck", {}):
            yield f"{name}: nobody asks whether it is well"
        if deploy.get("endpoint_mode") == "dnsrr" and any(
            port.get("mode") != "host" for port in one.get("ports", ())
        ):
            yield f"{name}: dnsrr and the ports of the swarm exclude each other"
        yield from _updates(name, deploy)


def _updates(name: str, deploy: Document) -> Iterator[str]:
    update, back = deploy.get("update_config", {}), deploy.get("rollback_config", {})
    if is_job(deploy):
        if update or back or deploy.get("restart_policy", {}).get("condition", "any") == "any":
            yield f"{name}: a job is not updated, and does not begin again"
    elif (
        update.get("failure_action") != "rollback"
        or "monitor" not in update
        or not {"order", "parallelism"} <= back.keys()
    ):
        yield f"{name}: an update that fails is not taken back"


def hasty(document: Document) -> Iterator[str]:
    """Who is killed too soon: when it stops, or when it starts and waits."""
    for name, one, _ in deployments(document):
        if "faircrawl" not in one["image"]:
            continue
        if parse_duration(one.get("stop_grace_period", "10s")) <= Settings().grace + 5:
            yield f"{name}: is killed before its open requests end"
        patience = parse_duration(one["environment"].get("CRAWL_START_PATIENCE", "60s"))
        if name not in UNASKED and parse_duration(one["healthcheck"]["start_period"]) <= patience:
            yield f"{name}: is killed while it waits for the database"


def unguarded(document: Document) -> Iterator[str]:
    """What of the dashboard can be reached without a password, or not at all."""
    services = document["services"]
    labels, words = services["dashboard"]["deploy"]["labels"], services["traefik"]["command"]
    routers = {
        found[1] for key in labels if (found := re.fullmatch(r"traefik\.http\.routers\.(\w+)\.rule", key))
    }
    for router in sorted(routers):
        of = {
            key: labels.get(f"traefik.http.routers.{router}.{key}", "")
            for key in ("rule", "entrypoints", "middlewares", "service")
        }
        resolver = labels.get(f"traefik.http.routers.{router}.tls.certresolver", "none")
        if of["entrypoints"] != "websecure" or not any(
            f"--certificatesresolvers.{resolver}." in word for word in words
        ):
            yield f"{router}: without TLS"
        named = of["middlewares"].split(",")
        yield from (
            f"{router}: there is no middleware {one}"
            for one in named
            if f"traefik.http.middlewares.{one}." not in str(labels)
        )
        if not any(f"traefik.http.middlewares.{one}.basicauth.usersfile" in labels for one in named):
            paths = re.findall(r"Path(Prefix)?\(`([^`]+)`\)", of["rule"])
            yield from (f"{router}: {path} is open to all" for path in sorted(_reached(paths)))
            if not paths:
                yield f"{router}: everything is open to all"
    if labels.get("traefik.http.middlewares.people.basicauth.removeheader") != "true":
        yield "people: the dashboard would take their password for a wrong token"
    network = labels.get("traefik.swarm.network")
    shared = {
        document["networks"][one]["name"]
        for one in {*services["dashboard"]["networks"]} & {*services["traefik"]["networks"]}
    }
    if shared != {network} or f"--providers.swarm.network={network}" not in words:
        yield f"dashboard: Traefik does not reach it in {network}"


def _reached(paths: Sequence[tuple[str, str]]) -> set[str]:
    """Of what is not for all, what these rules let through."""
    public = {path for path in OPEN if path in {"/bot", "/favicon.ico"}}
    found = {
        path
        for path in GUARDED
        for prefix, named in paths
        if (path.startswith(named) if prefix else path == named)
    }
    strange = {path for prefix, path in paths if path not in public and not (prefix and path == OPEN_BELOW)}
    return found | strange


RULES: Final[Sequence[Callable[[Document], Iterator[str]]]] = (
    unheard, undeclared, unmounted, exposed, careless, hasty, unguarded,
)  # fmt: skip


def faults(document: Document) -> list[str]:
    """What all rules say."""
    return [fault for rule in RULES for fault in rule(document)]
