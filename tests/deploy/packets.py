"""What a NetworkPolicy lets through: a packet is looked at as a network plugin does (networking.k8s.io/v1).

who sends ─► its egress policies ─┬─ none: allowed
                                  └─ some: allowed if a rule of one of them has the other end, the protocol and the port
who gets it ─► its ingress policies: the same
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final

from tests.deploy.parts import Document, named

OURS: Final = "faircrawl"


@dataclass(frozen=True, slots=True)
class End:
    """Who sends or gets a packet: a pod, with the labels of itself and of its namespace, or an address anywhere."""

    address: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    """Its ports by name."""

    @property
    def is_pod(self) -> bool:
        """Whether it is a pod: those are known by labels, and by their address too."""
        return bool(self.namespace)


def ours(documents: Sequence[Document], kind: str, name: str) -> End:
    """A pod that one of ours makes."""
    spec = named(documents, kind)[name]["spec"]["template"]
    ports = {
        port["name"]: port["containerPort"]
        for container in spec["spec"]["containers"]
        for port in container.get("ports", ())
    }
    return End("10.244.1.2", spec["metadata"]["labels"], {"kubernetes.io/metadata.name": OURS}, ports)


def selects(selector: Document, labels: Mapping[str, str]) -> bool:
    """Whether a selector means who has these labels; an empty one means all."""
    pairs = selector.get("matchLabels", {}).items()
    return all(labels.get(key) == value for key, value in pairs) and all(
        _expressed(one, labels) for one in selector.get("matchExpressions", ())
    )


def _expressed(one: Document, labels: Mapping[str, str]) -> bool:
    match one["operator"]:
        case "In":
            return labels.get(one["key"]) in one["values"]
        case "NotIn":
            return labels.get(one["key"]) not in one["values"]
        case "Exists":
            return one["key"] in labels
        case "DoesNotExist":
            return one["key"] not in labels
    raise AssertionError(one)


def _means(peer: Document, other: End) -> bool:
    """Whether a `to` or `from` means the other end."""
    if block := peer.get("ipBlock"):
        return bool(other.address) and _within(other.address, block)
    if not other.is_pod:
        return False
    spaces = peer.get("namespaceSelector")
    if spaces is None and other.namespace.get("kubernetes.io/metadata.name") != OURS:
        return False
    return selects(spaces or {}, other.namespace) and selects(peer.get("podSelector", {}), other.labels)


def _within(address: str, block: Document) -> bool:
    one, whole = ip_address(address), ip_network(block["cidr"])
    if one.version != whole.version or one not in whole:
        return False
    return not any(one in ip_network(out) for out in block.get("except", ()))


def _at(port: Document, number: int, protocol: str, to: End) -> bool:
    if port.get("protocol", "TCP") != protocol:
        return False
    if "port" not in port:
        return True
    first = port["port"]
    if isinstance(first, str):  # a name, which means nothing of who has no such port
        return to.ports.get(first) == number
    return int(first) <= number <= int(port.get("endPort") or first)


def _rules(documents: Sequence[Document], who: End, way: str) -> Iterator[list[Document]]:
    """The rules of each policy that holds for somebody, in one direction."""
    if who.namespace.get("kubernetes.io/metadata.name") != OURS:
        return
    for policy in named(documents, "NetworkPolicy").values():
        spec = policy["spec"]
        if way.title() in spec["policyTypes"] and selects(spec["podSelector"], who.labels):
            yield spec.get(way, [])


def passes(documents: Sequence[Document], source: End, to: End, port: int, protocol: str = "TCP") -> bool:
    """Whether a packet gets through."""
    for who, other, way, side in ((source, to, "egress", "to"), (to, source, "ingress", "from")):
        found = list(_rules(documents, who, way))
        if found and not any(
            (side not in rule or any(_means(peer, other) for peer in rule[side]))
            and ("ports" not in rule or any(_at(one, port, protocol, to) for one in rule["ports"]))
            for rules in found
            for rule in rules
        ):
            return False
    return True
