"""The files for a cluster: built as kubectl builds them, held against Kubernetes' and KEDA's own schemas, and against sense."""

import copy
import json
import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]  # it brings no types
import kubernetes_validate  # type: ignore[import-untyped]  # as above
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.addresses import GLOBAL_UNICAST, SPECIAL, AddressPolicy
from crawler.core.open_ports import DEFAULT
from tests.deploy.cluster_rules import faults
from tests.deploy.files import ROOT
from tests.deploy.packets import End, ours, passes
from tests.deploy.parts import KEDA, KUBERNETES, OVERLAYS, Document, cluster, named

VERSIONS: Final = ("1.28", "1.31", "1.34")
"""Of Kubernetes: the oldest that knows all that we say, and later ones."""
OF_KEDA: Final = json.loads((Path(__file__).parent / "schemas" / "keda.json").read_text("utf-8"))
PAGE: Final = ROOT / "docs" / "kubernetes.md"
METADATA: Final = "169.254.169.254"
PUBLIC: Final = ("93.184.216.34", "8.8.8.8", "2606:2800:220:1::1")
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def complaint(document: Document, version: str = VERSIONS[-1]) -> str:
    """What the schema of its kind has against a document, where nothing unknown is allowed; empty: nothing."""
    try:
        if document["apiVersion"].startswith("keda.sh/"):
            jsonschema.validate(document, OF_KEDA)
            document = _autoscaler(document)
        if document:
            kubernetes_validate.validate(document, version, strict=True)
    except jsonschema.ValidationError as error:
        return str(error.message)
    return ""


def _autoscaler(scaled: Document) -> Document:
    """What KEDA makes of a ScaledObject: its `behavior` is Kubernetes' own. Nothing, of anything else."""
    spec = scaled["spec"]
    if scaled["kind"] != "ScaledObject":
        return {}
    target = {"apiVersion": "apps/v1", "kind": "Deployment"} | spec["scaleTargetRef"]
    behavior = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
    limits = {"minReplicas": spec.get("minReplicaCount", 1), "maxReplicas": spec.get("maxReplicaCount", 100)}
    made = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa"},
    }
    return made | {"spec": {"scaleTargetRef": target, "behavior": behavior, **limits}}


@each_overlay
@pytest.mark.parametrize("version", VERSIONS)
def test_schemas(overlay: str, version: str) -> None:
    """Every document is what Kubernetes, or KEDA, takes."""
    assert [(one["kind"], said) for one in cluster(overlay) if (said := complaint(one, version))] == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("Deployment", {"replica": 2}),
        ("Job", {"backoffLimit": "often"}),
        ("NetworkPolicy", {"egres": []}),
        ("PodDisruptionBudget", {"minAvailable": [1]}),
        ("ScaledObject", {"maxReplicas": 3}),
        ("ScaledObject", {"maxReplicaCount": "many"}),
        ("ScaledObject", {"triggers": [{"type": "rabbitmq", "metadata": {"queue": "crawl.turns"}}]}),
        ("ScaledObject", {"advanced": {"horizontalPodAutoscalerConfig": {"behavior": {"scaleDow": {}}}}}),
        ("TriggerAuthentication", {"secretTargetRef": [{"name": "rabbitmq"}]}),
    ],
)
def test_schemas_are_asked(kind: str, change: Document) -> None:
    """A key that there is not, or a wrong value, is found."""
    document = copy.deepcopy(next(iter(named(cluster(KEDA), kind).values())))
    document["spec"] |= change

    assert complaint(document)


@each_overlay
def test_nothing_is_at_fault(overlay: str) -> None:
    """Every name leads somewhere, nobody may do more than needed, nobody is killed too soon, and nothing costs without end."""
    assert faults(cluster(overlay)) == []


def _template(documents: Sequence[Document], name: str = "worker") -> Document:
    return dict(named(documents, "Deployment")[name]["spec"]["template"])


def _container(documents: Sequence[Document]) -> Document:
    return dict(_template(documents)["spec"]["containers"][0])


def _spec(kind: str, name: str) -> Callable[[Sequence[Document]], Document]:
    return lambda documents: named(documents, kind)[name]["spec"]


BROKEN: Final[Sequence[tuple[str, Callable[[Sequence[Document]], Any], Any, Any]]] = (
    ("selects others than its own", lambda d: _template(d)["metadata"]["labels"], "app.kubernetes.io/name", "worcker"),
    ("PodDisruptionBudget worker: selects nobody", _spec("PodDisruptionBudget", "worker"), "selector", {"matchLabels": {"app": "w"}}),
    ("NetworkPolicy internet: selects nobody", _spec("NetworkPolicy", "internet"), "podSelector", {"matchLabels": {"app": "w"}}),
    ("a probe asks port 8081", lambda d: _container(d)["livenessProbe"]["httpGet"], "port", 8081),
    ("Service worker: nobody has a port web", lambda d: _spec("Service", "worker")(d)["ports"][0], "targetPort", "web"),
    ("NetworkPolicy people: nobody has a port web", lambda d: _spec("NetworkPolicy", "people")(d)["ingress"][0]["ports"][0], "port", "web"),
    ("there is no ConfigMap crawl", lambda d: _container(d)["envFrom"][0]["configMapRef"], "name", "crawl"),
    ("there is no Secret crawl", lambda d: _template(d)["spec"]["volumes"][0]["secret"], "secretName", "crawl"),
    ("there is no amqp in Secret", lambda d: _spec("TriggerAuthentication", "rabbitmq")(d)["secretTargetRef"][0], "key", "amqp"),
    ("Deployment worker: runs as anybody", lambda d: _template(d)["spec"]["securityContext"], "runAsUser", 0),
    ("Deployment worker: can ask the cluster's API", lambda d: _template(d)["spec"], "automountServiceAccountToken", True),
    ("Deployment worker: shares with its machine", lambda d: _template(d)["spec"], "hostNetwork", True),
    ("has a volume of kind hostPath", lambda d: _template(d)["spec"]["volumes"][1], "hostPath", {"path": "/"}),
    ("Deployment worker: may write", lambda d: _container(d)["securityContext"], "readOnlyRootFilesystem", False),
    ("takes as much as there is", lambda d: _container(d)["resources"], "limits", {"cpu": "1"}),
    ("keeps others from more", lambda d: d[0]["metadata"]["labels"], "pod-security.kubernetes.io/enforce", "baseline"),
    ("in another namespace", lambda d: named(d, "Service")["worker"]["metadata"], "namespace", "default"),
    ("killed before its open requests end", lambda d: _template(d)["spec"], "terminationGracePeriodSeconds", 30),
    ("killed while it waits", lambda d: _container(d)["startupProbe"], "failureThreshold", 12),
    ("killed when the database is away", lambda d: _container(d)["livenessProbe"]["httpGet"], "path", "/readyz"),
    ("there is no such Deployment", lambda d: _spec("ScaledObject", "worker")(d)["scaleTargetRef"], "name", "workers"),
    ("its Deployment says how many", _spec("Deployment", "worker"), "replicas", 3),
    ("ScaledObject worker: without a bound", _spec("ScaledObject", "worker"), "maxReplicaCount", 5000),
    ("workers go at the first lull", _spec("ScaledObject", "worker"), "advanced", {}),
    ("nobody lets it ask", lambda d: _spec("ScaledObject", "worker")(d)["triggers"][0]["authenticationRef"], "name", "rabbit"),
    ("there is no queue turns", lambda d: _spec("ScaledObject", "worker")(d)["triggers"][0]["metadata"], "queueName", "turns"),
    ("no machine can be drained", _spec("Deployment", "scheduler"), "replicas", 1),
)  # fmt: skip


@pytest.mark.parametrize(("told", "place", "key", "value"), BROKEN, ids=[told for told, *_ in BROKEN])
def test_what_is_broken_is_told(
    told: str, place: Callable[[Sequence[Document]], Any], key: str, value: object
) -> None:
    """Each rule finds what it is for."""
    documents = copy.deepcopy(cluster(KEDA))
    place(documents)[key] = value

    assert [fault for fault in faults(documents) if told in fault]


def test_secrets_come_from_outside() -> None:
    """No file of the repository has a secret: kustomize takes them from secrets/, and each is what its file says."""
    written = [
        one for file in KUBERNETES.rglob("*.yaml") for one in yaml.safe_load_all(file.read_text("utf-8"))
    ]

    assert [one for one in written if one.get("kind") == "Secret"] == []
    assert {key for one in named(cluster(KEDA), "Secret").values() for key in one["data"]} == {
        "crawl_database_url", "crawl_amqp_url", "crawl_sentry_dsn", "crawl_api_token", "rabbitmq_http_url",
    }  # fmt: skip


def test_secrets_can_be_read_by_their_group_alone() -> None:
    """Files of secrets are 0440, of the group that the pod's security context names."""
    volumes = [
        volume.get("secret", volume.get("projected"))["defaultMode"]
        for name in ("worker", "scheduler", "dashboard")
        for volume in _template(cluster(KEDA), name)["spec"]["volumes"]
        if volume["name"] == "secrets"
    ]

    assert volumes == [0o440] * 3


WORKER: Final = ours(cluster(KEDA), "Deployment", "worker")
SCHEDULER: Final = ours(cluster(KEDA), "Deployment", "scheduler")
DASHBOARD: Final = ours(cluster(KEDA), "Deployment", "dashboard")
MIGRATE: Final = ours(cluster(KEDA), "Job", "migrate")
ALL: Final = (WORKER, SCHEDULER, DASHBOARD, MIGRATE)


def pod(
    namespace: str, address: str = "10.244.3.4", labels: dict[str, str] | None = None, **marks: str
) -> End:
    """Somebody else's pod. *marks*: labels of its namespace that begin with faircrawl/."""
    spaces = {"kubernetes.io/metadata.name": namespace} | {
        f"faircrawl/{key}": value for key, value in marks.items()
    }
    return End(address, labels or {}, spaces)


DNS: Final = pod("kube-system", labels={"k8s-app": "kube-dns"})
DATABASE: Final = pod("databases", database="true")
BROKER: Final = pod("brokers", broker="true")
PROMETHEUS: Final = pod("monitoring", labels={"app.kubernetes.io/name": "prometheus"})
GATE: Final = pod("ingress-nginx", ingress="true")
STRANGER: Final = pod("shop", labels={"k8s-app": "kube-dns", "app.kubernetes.io/name": "prometheus"})


def through(source: End, to: End, port: int, protocol: str = "TCP") -> bool:
    """Whether our policies let a packet through."""
    return passes(cluster(KEDA), source, to, port, protocol)


def test_stores_and_names_are_reached() -> None:
    """All of us reach the database, the broker and DNS, at their ports and no others."""
    for who in ALL:
        assert [through(who, DATABASE, 5432), through(who, BROKER, 5672)] == [True, True]
        assert [through(who, DNS, 53, protocol) for protocol in ("UDP", "TCP")] == [True, True]
        assert [through(who, End("169.254.20.10"), 53, protocol) for protocol in ("UDP", "TCP")] == [
            True,
            True,
        ]
        assert [through(who, DATABASE, port) for port in (5672, 22)] == [False, False]
        assert [through(who, BROKER, port) for port in (5432, 15672)] == [False, False]
        assert [through(who, DNS, 8080), through(who, End("169.254.20.10"), 80)] == [False, False]


def test_the_cluster_is_not_reached() -> None:
    """Nobody of us reaches another pod, a machine of the cluster, the API, or the clouds' metadata; and a worker no other of us."""
    private = (
        "10.96.0.1",
        "10.244.9.9",
        "172.20.0.10",
        "192.168.1.1",
        "100.64.1.1",
        METADATA,
        "fd00:ec2::254",
        "fe80::1",
    )
    ports = (53, 80, 443, 5432, 6443, 8080, 10250)

    assert [(a, port) for who in ALL for a in private for port in ports if through(who, End(a), port)] == []
    assert [port for port in ports for who in ALL if through(who, STRANGER, port)] == []
    assert [port for port in (*ports, 9100) if through(WORKER, DASHBOARD, port)] == []


@pytest.mark.parametrize("address", PUBLIC)
def test_the_internet_is_reached(address: str) -> None:
    """Workers reach every public address at the ports that CRAWL_PORTS opens; the others Sentry's alone, a migration nobody's."""
    edges = {port for first, last in DEFAULT for port in (first, last)}

    assert [port for port in sorted(edges) if not through(WORKER, End(address), port)] == []
    assert [
        port for port in (22, 25, 53, 79, 81, 442, 444, 1023) if through(WORKER, End(address), port)
    ] == []
    assert not through(WORKER, End(address), 443, "UDP")
    for who, open_to in ((SCHEDULER, [443]), (DASHBOARD, [443]), (MIGRATE, [])):
        assert [port for port in (80, 443, 8080) if through(who, End(address), port)] == open_to


def _strangely(documents: Sequence[Document], address: str) -> bool:
    """Whether policy and program disagree about an address."""
    return passes(documents, WORKER, End(address), 443) == bool(AddressPolicy().refusal(address))


def test_policy_and_program_agree_on_every_special_network() -> None:
    """At both edges of each network that the program refuses, and right beside it, the policy says the same."""
    networks = [*(one for one, _ in SPECIAL), GLOBAL_UNICAST, ip_network("0.0.0.0/0")]
    beside = [
        (network, number)
        for network in networks
        for number in (int(network[0]) - 1, int(network[0]), int(network[-1]), int(network[-1]) + 1)
        if 0 <= number < 1 << network.max_prefixlen
    ]
    edges = {str((IPv4Address if one.version == 4 else IPv6Address)(number)) for one, number in beside}

    assert METADATA in {str(network[0]) for network, _ in SPECIAL}
    assert [address for address in sorted(edges) if _strangely(cluster(KEDA), address)] == []


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.ip_addresses(network="2000::/3")))
def test_policy_and_program_agree_on_any_address(address: object) -> None:
    """Nobody has to tell the worker the cluster's networks: whatever the program refuses, the policy does, and nothing else."""
    assert not _strangely(cluster(KEDA), str(address))


@pytest.mark.parametrize("hole", ["169.254.0.0/16", "10.0.0.0/8", "168.63.129.16/32", "2001:db8::/32"])
def test_a_hole_is_found(hole: str) -> None:
    """A network that is forgotten in the policy is found."""
    documents = copy.deepcopy(cluster(KEDA))
    for block in _blocks(documents):
        block["except"] = [one for one in block["except"] if one != hole]

    assert _strangely(documents, str(ip_network(hole)[0]))


def _blocks(documents: Sequence[Document]) -> list[Document]:
    return [
        peer["ipBlock"]
        for policy in named(documents, "NetworkPolicy").values()
        for rule in policy["spec"].get("egress", ())
        for peer in rule["to"]
        if "except" in peer.get("ipBlock", {})
    ]


def test_exceptions_lie_within() -> None:
    """The API server takes an exception only if it lies within its block."""
    for block in _blocks(cluster(KEDA)):
        whole: Any = ip_network(block["cidr"])
        assert [one for one in block["except"] if not ip_network(one).subnet_of(whole)] == []


def test_who_may_come_in() -> None:
    """Prometheus may scrape, an ingress controller may ask the dashboard, and nobody else may ask anybody anything."""
    ends = ((WORKER, 9100), (SCHEDULER, 9100), (DASHBOARD, 8080))

    assert [through(PROMETHEUS, to, port) for to, port in ends] == [True] * 3
    assert [through(GATE, to, port) for to, port in ends] == [False, False, True]
    assert [through(who, to, port) for who in (STRANGER, End("93.184.216.34")) for to, port in ends] == [
        False
    ] * 6
    assert not through(PROMETHEUS, WORKER, 22)


def test_the_page_shows_what_is_valid() -> None:
    """Every document of YAML on the page is one that Kubernetes takes, or a part of a kustomization."""
    blocks = re.findall(r"(?ms)^```yaml\n(.*?)^```", PAGE.read_text("utf-8"))
    documents = [one for block in blocks for one in yaml.safe_load_all(block)]
    whole = [one for one in documents if "apiVersion" in one and one["kind"] != "Kustomization"]

    assert whole
    assert [(one["kind"], said) for one in whole if (said := complaint(one))] == []


def test_the_page_tells_of_every_label() -> None:
    """The labels by which namespaces are let through are given on the page."""
    text = (KUBERNETES / "base" / "network.yaml").read_text("utf-8")
    labels = set(re.findall(r'(faircrawl/\w+): "true"', text))

    assert labels == set(
        re.findall(r"kubectl label namespace \S+ (faircrawl/\w+)=true", PAGE.read_text("utf-8"))
    )
