"""Which addresses may be connected to."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.addresses import SPECIAL, AddressPolicy, literal, parse_networks
from crawler.core.errors import SettingsError
from crawler.core.urls import canonical, host_of

CLOSED = AddressPolicy()


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.215.14", "2001:4860:4860::8888", "2606:4700::1111", "172.15.255.255", "11.0.0.0"],
)
def test_public_address(address: str) -> None:
    """An address of the public internet may be connected to."""
    assert CLOSED.refusal(address) is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("::", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("fc00::1", "private"),
        ("fd12:3456::1", "private"),
        ("100.64.0.1", "carrier-grade NAT"),
        ("100.127.255.255", "carrier-grade NAT"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fec0::1", "site-local"),
        ("169.254.169.254", "cloud metadata"),
        ("169.254.170.2", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("168.63.129.16", "cloud metadata"),
        ("192.0.0.192", "cloud metadata"),
        ("fd00:ec2::254", "cloud metadata"),
        ("fd20:ce::254", "cloud metadata"),
        ("192.0.0.8", "reserved"),
        ("192.0.2.1", "documentation"),
        ("198.51.100.7", "documentation"),
        ("203.0.113.9", "documentation"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("198.18.0.1", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("2001:2::1", "benchmarking"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("ff02::1", "multicast"),
        ("ff0e::1", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("192.88.99.1", "6to4"),
        ("2002:7f00:1::", "6to4"),
        ("2002:808:808::1", "6to4"),
        ("2001:0:1234::1", "Teredo"),
        ("2001:20::1", "reserved"),
        ("64:ff9b::7f00:1", "NAT64"),
        ("64:ff9b::808:808", "NAT64"),
        ("64:ff9b:1::1", "NAT64"),
        ("::127.0.0.1", "IPv4-compatible"),
        ("::8.8.8.8", "IPv4-compatible"),
        ("::ffff:127.0.0.1", "IPv4-mapped loopback"),
        ("::ffff:7f00:1", "IPv4-mapped loopback"),
        ("::ffff:10.0.0.1", "IPv4-mapped private"),
        ("::ffff:169.254.169.254", "IPv4-mapped cloud metadata"),
        ("::ffff:8.8.8.8", "IPv4-mapped"),
        ("::ffff:0:127.0.0.1", "IPv4-translated"),
        ("100::1", "discard-only"),
        ("5f00::1", "reserved"),
        ("4000::1", "reserved"),
        ("fe80::1%eth0", "scope id"),
        ("2606:4700::1111%1", "scope id"),
        ("localhost", "not an address"),
        ("0177.0.0.1", "not an address"),
        ("2130706433", "not an address"),
        ("[::1]", "not an address"),
        ("", "not an address"),
    ],
)
def test_refusal(address: str, reason: str) -> None:
    """Whatever is not the public internet is refused, with its reason."""
    assert reason == CLOSED.refusal(address)


@given(st.ip_addresses())
def test_no_more_than_is_global(address: IPv4Address | IPv6Address) -> None:
    """What Python's own table does not hold for globally reachable is refused."""
    refusal = CLOSED.refusal(str(address))

    assert address.is_global or refusal is not None


@given(st.ip_addresses(v=4))
def test_carried_addresses_are_refused(address: IPv4Address) -> None:
    """An IPv6 form that carries an IPv4 address is refused whatever it carries, even if that is allowed."""
    policy = AddressPolicy((ip_network("0.0.0.0/0"),))
    carriers = [
        IPv6Address((prefix << shift) | (int(address) << place))
        for prefix, shift, place in ((0xFFFF, 32, 0), (0x64FF9B, 96, 0), (0x2002, 112, 80))
    ]
    assert all(policy.refusal(str(carrier)) for carrier in carriers)


@given(st.sampled_from([network for network, _ in SPECIAL]), st.data())
def test_allowed_opens_what_it_names(network: object, data: st.DataObject) -> None:
    """Every address of an allowed network may be connected to, first to last."""
    named = ip_network(str(network))
    address = named[data.draw(st.integers(0, named.num_addresses - 1))]

    assert AddressPolicy((named,)).refusal(str(address)) is None


def test_allowed_opens_nothing_else() -> None:
    """An allowed network does not open its neighbours, its mapped spelling, or what is no address."""
    policy = AddressPolicy(parse_networks(["127.0.0.1", "fe80::/10"]))
    asked = ("127.0.0.1", "127.0.0.2", "::ffff:127.0.0.1", "fe80::1", "fe80::1%1", "localhost")

    assert [policy.refusal(address) for address in asked] == [
        None,
        "loopback",
        "IPv4-mapped loopback",
        None,
        "scope id",
        "not an address",
    ]


def test_mapped_network_by_name() -> None:
    """The mapped spelling is opened by naming it."""
    policy = AddressPolicy(parse_networks(["::ffff:127.0.0.0/104"]))

    assert policy.refusal("::ffff:127.0.0.1") is None
    assert policy.refusal("127.0.0.1") == "loopback"


def test_most_specific_first() -> None:
    """No row of the table hides a more specific one below it."""
    hidden = [
        (upper, lower)
        for place, (upper, _) in enumerate(SPECIAL)
        for lower, _ in SPECIAL[place + 1 :]
        if lower.version == upper.version
        and ip_address(lower.network_address) in upper
        and lower.prefixlen > upper.prefixlen
    ]

    assert hidden == []


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("example.com", None),
        ("1.2.3.4.example", None),
        ("localhost", None),
        ("example.com.", None),
        ("1e3", None),
        ("0x7f.1", "0x7f.1"),
        ("0x7f000001", "0x7f000001"),
        ("127.0.0.0X1.", "127.0.0.0X1."),
        ("a.0x", "a.0x"),
        ("127.0.0.1.", "127.0.0.1."),
        ("127.0.0.\uff11", "127.0.0.\uff11"),
        ("0x7g.test", None),
        ("0xfg", None),
        ("x0", None),
        ("", None),
    ],
)
def test_literal(host: str, address: str | None) -> None:
    """An IP literal, in any spelling, is told from a name, and loses its brackets."""
    assert address == literal(host)


@pytest.mark.parametrize(
    "url",
    ["http://127.1/", "http://0x7f.1/", "http://2130706433/", "http://0177.0.0.01./", "http://①27.0.0.1/"],
)
def test_disguised_literal(url: str) -> None:
    """No spelling of a loopback address in a URL hides it."""
    found = canonical(url)
    assert found is not None

    assert CLOSED.literal_refusal(host_of(found)) == "loopback"


def test_literal_refusal_of_a_name() -> None:
    """A name is not refused before it is resolved."""
    assert CLOSED.literal_refusal("localhost") is None


@pytest.mark.parametrize(
    "host", ["0x7f.1", "0x7f000001", "127.0.0.1.", "2130706433", "a.1", "127.0.0.\uff11"]
)
def test_literal_refusal_of_another_spelling(host: str) -> None:
    """What would be an address to somebody else is refused as none."""
    assert CLOSED.literal_refusal(host) == "not an address"


@given(st.text(st.sampled_from("019afxX.-g\uff11"), max_size=12))
def test_whatever_canonical_takes_for_an_address_is_one(host: str) -> None:
    """A host that becomes an address in a canonical URL is a literal before that too."""
    url = canonical(f"http://{host}/")
    ours = literal(host.replace("\uff11", "1"))

    assert url is None or literal(host_of(url)) is None or ours is not None


def test_literal_refusal_of_ipv6() -> None:
    """An IPv6 literal is judged without its brackets."""
    assert CLOSED.literal_refusal("[::1]") == "loopback"


def test_parse_networks() -> None:
    """Networks and single addresses of both families may be named, with white space around."""
    networks = parse_networks(["10.0.0.0/8", " fd00::/8 ", "127.0.0.1", "::1"])

    assert [str(network) for network in networks] == ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32", "::1/128"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lan", "'lan' is not a network: write one such as"),
        ("", "'' is not a network"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not a network"),
        ("fe80::%eth0/64", "'fe80::%eth0/64' is not a network"),
        ("fe80::1%eth0", "'fe80::1%eth0' is not a network"),
        ("10.0.0.1/8", "'10.0.0.1/8' is an address inside a network: write 10.0.0.0/8"),
    ],
)
def test_parse_networks_error(text: str, message: str) -> None:
    """What is no network is refused in one line that says what to write."""
    with pytest.raises(SettingsError) as caught:
        parse_networks([text])

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
