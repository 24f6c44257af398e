"""What is at fault in the files for a cluster, beyond what a schema can say: each rule yields a line for each fault."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from crawler.settings import Settings, parse_duration
from tests.deploy.packets import selects
from tests.deploy.parts import Document, clustered, named, pods

NAMESPACE: Final = "faircrawl"
PERSON: Final = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
SEALED: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
HARMLESS: Final = frozenset({"configMap", "emptyDir", "projected", "secret"})
"""The volumes that pod security `restricted` lets a pod have, of those that we may want."""
MOST: Final = 100
"""More workers than that are somebody's decision, not a default."""
LULL: Final = 300
"""Seconds of too little to do before a worker may go."""


def _label_sets(documents: Sequence[Document]) -> list[dict[str, str]]:
    return [template["metadata"]["labels"] for _, template in pods(documents)]


def _selectors(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """Everything that means pods by their labels."""
    for one in documents:
        what, spec = f"{one['kind']} {one['metadata']['name']}", one.get("spec", {})
        match one["kind"]:
            case "Service":
                yield what, {"matchLabels": spec["selector"]}
            case "PodDisruptionBudget" | "Deployment":
                yield what, spec["selector"]
            case "NetworkPolicy":
                yield what, spec["podSelector"]
    for what, template in pods(documents):
        for one in template["spec"].get("topologySpreadConstraints", ()):
            yield what, one["labelSelector"]


def nobody_meant(documents: Sequence[Document]) -> Iterator[str]:
    """Selectors that select nothing, or not what they stand beside."""
    for what, selector in _selectors(documents):
        if not any(selects(selector, labels) for labels in _label_sets(documents)):
            yield f"{what}: selects nobody"
    for what, template in pods(documents):
        kind, name = what.split()
        selector = named(documents, kind)[name]["spec"].get("selector", {})
        beside = [one["labelSelector"] for one in template["spec"].get("topologySpreadConstraints", ())]
        if not all(selects(one, template["metadata"]["labels"]) for one in (selector, *beside)):
            yield f"{what}: selects others than its own"


def lost_probes(documents: Sequence[Document]) -> Iterator[str]:
    """Probes of ports that are not there."""
    for part in clustered(documents, "cluster"):
        known = {*part.ports, *part.ports.values()}
        yield from (
            f"{part.where}: a probe asks port {one.port}" for one in part.probes if one.port not in known
        )


def lost_ports(documents: Sequence[Document]) -> Iterator[str]:
    """Ports that a Service or a policy names and that are not there."""
    templates = [template for _, template in pods(documents)]
    for name, service in named(documents, "Service").items():
        chosen = [
            one
            for one in templates
            if selects({"matchLabels": service["spec"]["selector"]}, one["metadata"]["labels"])
        ]
        yield from (
            f"Service {name}: nobody has a port {port['targetPort']}"
            for port in service["spec"]["ports"]
            if not all(port["targetPort"] in _port_names(one) for one in chosen)
        )
    ours = set().union(*map(_port_names, templates))
    for name, policy in named(documents, "NetworkPolicy").items():
        asked = [port["port"] for rule in policy["spec"].get("ingress", ()) for port in rule["ports"]]
        yield from (f"NetworkPolicy {name}: nobody has a port {port}" for port in asked if port not in ours)


def _port_names(template: Document) -> set[str]:
    return {
        port["name"] for container in template["spec"]["containers"] for port in container.get("ports", ())
    }


def lost_names(documents: Sequence[Document]) -> Iterator[str]:
    """ConfigMaps, Secrets and keys of theirs that are named and not there."""
    there = {kind: named(documents, kind) for kind in ("ConfigMap", "Secret", "TriggerAuthentication")}
    for what, template in pods(documents):
        yield from (
            f"{what}: there is no {kind} {name}"
            for kind, name in _sources(template["spec"])
            if name not in there[kind]
        )
    for name, one in there["TriggerAuthentication"].items():
        for ref in one["spec"]["secretTargetRef"]:
            if ref["key"] not in there["Secret"].get(ref["name"], {}).get("data", {}):
                yield f"TriggerAuthentication {name}: there is no {ref['key']} in Secret {ref['name']}"


def _sources(spec: Document) -> Iterator[tuple[str, str]]:
    for container in spec["containers"]:
        for source in container.get("envFrom", ()):
            yield "ConfigMap", source["configMapRef"]["name"]
    for volume in spec.get("volumes", ()):
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"]
        for source in volume.get("projected", {}).get("sources", ()):
            yield "Secret", source["secret"]["name"]


def too_free(documents: Sequence[Document]) -> Iterator[str]:
    """What pod security `restricted` forbids, and what is wiser not to be allowed."""
    for what, template in pods(documents):
        spec = template["spec"]
        if not spec.get("securityContext", {}).items() >= PERSON.items():
            yield f"{what}: runs as anybody"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{what}: can ask the cluster's API"
        if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{what}: shares with its machine"
        kinds = {kind for volume in spec.get("volumes", ()) for kind in volume.keys() - {"name"}}
        yield from (f"{what}: has a volume of kind {kind}" for kind in sorted(kinds - HARMLESS))
        yield from (f"{what}: {fault}" for container in spec["containers"] for fault in _too_free(container))


def _too_free(container: Document) -> Iterator[str]:
    if container.get("securityContext") != SEALED:
        yield "may write, or gain rights"
    resources = container.get("resources", {})
    if not all({"cpu", "memory"} <= resources.get(key, {}).keys() for key in ("requests", "limits")):
        yield "takes as much as there is"


def astray(documents: Sequence[Document]) -> Iterator[str]:
    """What is not in the namespace that keeps it from more."""
    for name, space in named(documents, "Namespace").items():
        if space["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
            yield f"Namespace {name}: nobody keeps others from more"
    for one in documents:
        if one["metadata"].get("namespace", one["metadata"]["name"]) != NAMESPACE:
            yield f"{one['kind']} {one['metadata']['name']}: in another namespace"


def hasty(documents: Sequence[Document]) -> Iterator[str]:
    """Who is killed too soon: when it stops, starts and waits, or lacks its database."""
    for what, template in pods(documents):
        if what.startswith("Job "):
            continue
        spec = template["spec"]
        if spec.get("terminationGracePeriodSeconds", 30) <= Settings().grace + 5:
            yield f"{what}: is killed before its open requests end"
        for container in spec["containers"]:
            start, patience = container["startupProbe"], _patience(container, documents)
            if start["periodSeconds"] * start["failureThreshold"] <= patience:
                yield f"{what}: is killed while it waits for the database"
            if container["livenessProbe"]["httpGet"]["path"] != "/healthz":
                yield f"{what}: is killed when the database is away"


def _patience(container: Document, documents: Sequence[Document]) -> float:
    maps = named(documents, "ConfigMap")
    names = [source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source]
    given = [maps[name]["data"]["CRAWL_START_PATIENCE"] for name in names if name in maps]
    return max(map(parse_duration, given), default=0.0)


def boundless(documents: Sequence[Document]) -> Iterator[str]:
    """Who is scaled without end, at the first lull, or by what is not there."""
    deployments, known = named(documents, "Deployment"), named(documents, "TriggerAuthentication")
    for name, one in named(documents, "ScaledObject").items():
        spec, target = one["spec"], deployments.get(one["spec"]["scaleTargetRef"]["name"])
        if target is None:
            yield f"ScaledObject {name}: there is no such Deployment"
        elif "replicas" in target["spec"]:
            yield f"ScaledObject {name}: its Deployment says how many, too"
        if not 1 <= spec.get("minReplicaCount", 0) < spec.get("maxReplicaCount", 10 * MOST) <= MOST:
            yield f"ScaledObject {name}: without a bound"
        behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
        if behavior.get("scaleDown", {}).get("stabilizationWindowSeconds", 0) < LULL:
            yield f"ScaledObject {name}: workers go at the first lull"
        for trigger in spec["triggers"]:
            if trigger["authenticationRef"]["name"] not in known:
                yield f"ScaledObject {name}: nobody lets it ask"
            if trigger["metadata"]["queueName"] != f"{Settings().amqp_prefix}.turns":
                yield f"ScaledObject {name}: there is no queue {trigger['metadata']['queueName']}"


def undrainable(documents: Sequence[Document]) -> Iterator[str]:
    """Budgets that hold up who drains a machine."""
    for name, one in named(documents, "PodDisruptionBudget").items():
        single = named(documents, "Deployment")[name]["spec"].get("replicas") == 1
        if single or one["spec"].get("maxUnavailable") in {0, "0%", None}:
            yield f"PodDisruptionBudget {name}: no machine can be drained"


RULES: Final[Sequence[Callable[[Sequence[Document]], Iterator[str]]]] = (
    nobody_meant, lost_probes, lost_ports, lost_names, too_free, astray, hasty, boundless, undrainable,
)  # fmt: skip


def faults(documents: Sequence[Document]) -> list[str]:
    """What all rules say."""
    return [fault for rule in RULES for fault in rule(documents)]
