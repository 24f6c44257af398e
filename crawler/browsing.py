"""What the settings say of requests, as the adapter that makes them takes it."""

from crawler.adapters.attempt import Limits
from crawler.adapters.dns import Resolver
from crawler.adapters.proxying import Proxy
from crawler.adapters.web import Web
from crawler.core.addresses import AddressPolicy
from crawler.guards import connections_within, raise_open_files
from crawler.settings import Settings


def open_web(settings: Settings, resolver: Resolver) -> Web:
    """Make it inside a running event loop, and close it."""
    return Web(
        resolver=resolver,
        policy=AddressPolicy(settings.allow_nets, settings.ports),
        limits=Limits(
            max_body=settings.max_body,
            max_headers=settings.max_headers,
            connect_timeout=settings.connect_timeout,
            tls_timeout=settings.tls_timeout,
            first_byte_timeout=settings.first_byte_timeout,
            read_timeout=settings.read_timeout,
            total_timeout=settings.total_timeout,
            min_bytes_per_second=settings.min_bytes_per_second,
        ),
        user_agent=settings.user_agent,
        max_connections=connections_within(raise_open_files(settings.max_open_files)),
        tls_verify=settings.tls_verify,
        tls_ca_file=settings.tls_ca_file,
        proxy=None if settings.proxy is None else Proxy.of(settings.proxy),
    )
