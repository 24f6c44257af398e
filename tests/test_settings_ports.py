"""The setting PORTS."""

from pathlib import Path

import pytest

from crawler.core.errors import SettingsError
from crawler.core.open_ports import DEFAULT
from crawler.settings import Loaded, describe, load


def loaded(ports: str | None = None, config: Path | None = None) -> Loaded:
    """Settings with these ports."""
    environ = {} if ports is None else {"CRAWL_PORTS": ports}
    return load(overrides={}, environ=environ, config=config)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", ((80, 80),)),
        ("80, 443 ,1024-65535", ((80, 80), (443, 443), (1024, 65535))),
        ("8000 - 8100,8000 - 8100", ((8000, 8100),)),
        ("1-65535,6000", ((1, 65535), (6000, 6000))),
    ],
)
def test_ports(text: str, ports: object) -> None:
    """Ports and ranges are a list; what was named twice counts once."""
    assert loaded(text).settings.ports == ports


def test_ports_of_a_file(tmp_path: Path) -> None:
    """In a file ports may be numbers."""
    config = tmp_path / "crawl.toml"
    config.write_text('ports = [80, 443, "8000-8100"]')

    assert loaded(config=config).settings.ports == ((80, 80), (443, 443), (8000, 8100))


def test_the_usual_ports() -> None:
    """Unless told otherwise, 80, 443 and those above 1023; so `crawl settings` shows them."""
    shown = {row.name: (row.value, row.raw) for row in describe(loaded())}

    assert loaded().settings.ports == DEFAULT
    assert shown["ports"] == ("80,443,1024-65535", ["80", "443", "1024-65535"])


@pytest.mark.parametrize(
    "text", ["0", "65536", "443-80", "http", "80-", "-80", "80:90", "-1", "80,x", "99999"]
)
def test_what_is_no_port(text: str) -> None:
    """What is no port and no range of ports is refused with what to write instead."""
    with pytest.raises(SettingsError) as caught:
        loaded(text)

    item = text.rpartition(",")[2]
    assert str(caught.value) == (
        f'ports from environment CRAWL_PORTS: "{text}" is not a list of ports and ranges'
        f" ({item} is no port from 1 to 65535, nor a range of them), for example 80,443,1024-65535"
    )
