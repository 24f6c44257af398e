"""How many domains may be visited at once at an address."""

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from crawler.core.crowds import CrowdLimits

NETS = st.lists(
    st.tuples(
        st.sampled_from(
            ["203.0.113.0/24", "203.0.113.0/28", "203.0.113.7/32", "0.0.0.0/0", "2001:db8::/32", "::/0"]
        ).map(ip_network),
        st.integers(0, 1000),
    ),
    unique_by=lambda one: one[0],
)


@given(
    st.integers(0, 100),
    NETS,
    st.sampled_from(["203.0.113.7", "203.0.113.200", "198.51.100.1", "2001:db8::1"]),
)
def test_the_smallest_network_counts(most: int, nets: list, address: str) -> None:  # type: ignore[type-arg]
    """The limit is that of the smallest network named around the address, or else the general one."""
    around = [one for one in nets if ip_address(address) in one[0]]
    expected = max(around, key=lambda one: one[0].prefixlen)[1] if around else most

    assert CrowdLimits(most, nets).most(address) == expected


def test_an_address_in_other_clothes() -> None:
    """An IPv4 address written as IPv6 has the limit of the IPv4 address."""
    assert CrowdLimits(50, [(ip_network("203.0.113.0/24"), 7)]).most("::ffff:203.0.113.9") == 7
