"""The knobs: where they come from, what they may be, and what they say against each other."""

import contextlib
import dataclasses
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.errors import SettingsError
from crawler.kinds import show_duration, show_size
from crawler.settings import FIELDS, Loaded, Settings, describe, load, mask, parse_duration, parse_size


def loaded(
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
    secrets: Path = Path("/none"),
    *,
    given: Mapping[str, object] | None = None,
) -> Loaded:
    """Settings from these sources alone."""
    return load(overrides=given or {}, environ=environ or {}, config=config, secrets_dir=secrets)


def refusal(
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
    given: Mapping[str, object] | None = None,
) -> str:
    """What is said when these sources are refused."""
    with pytest.raises(SettingsError) as caught:
        loaded(environ, config, given=given)
    return str(caught.value)


def test_the_later_source_wins(tmp_path: Path) -> None:
    """Default, file, secret file, environment, command line: each wins over those before."""
    config = tmp_path / "crawl.toml"
    config.write_text("delay = '2s'")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    steps = [loaded(), loaded(config=config)]
    (secrets / "crawl_delay").write_text("3s\n")
    environ = {"CRAWL_DELAY": "4s"}
    steps += [
        loaded(config=config, secrets=secrets),
        loaded(environ, config, secrets),
        loaded(environ, config, secrets, given={"delay": 5.0}),
    ]

    assert [(one.settings.delay, one.origins["delay"]) for one in steps] == [
        (1.0, "default"),
        (2.0, f"file {config}"),
        (3.0, f"secret file {secrets}/crawl_delay"),
        (4.0, "environment CRAWL_DELAY"),
        (5.0, "command line"),
    ]


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    """`CRAWL_CONFIG` names the file that `--config` does not."""
    config = tmp_path / "crawl.toml"
    config.write_text("per_domain = 3")

    assert loaded({"CRAWL_CONFIG": str(config)}).settings.per_domain == 3


def test_a_variable_may_name_a_secret_file(tmp_path: Path) -> None:
    """`CRAWL_X_FILE` names a file that holds the value, its line end apart."""
    secret = tmp_path / "dsn"
    secret.write_text("postgresql://u:p@db/crawl\n")

    assert (
        loaded({"CRAWL_DATABASE_URL_FILE": str(secret)}).settings.database_url == "postgresql://u:p@db/crawl"
    )


def test_a_variable_wins_over_its_file_and_says_so(tmp_path: Path) -> None:
    """With `CRAWL_X` and `CRAWL_X_FILE` both given, the first counts, with a warning."""
    found = loaded({"CRAWL_DELAY": "2s", "CRAWL_DELAY_FILE": str(tmp_path / "missing")})

    assert found.settings.delay == 2.0
    assert found.warnings == (
        "CRAWL_DELAY_FILE is not read, because CRAWL_DELAY is given too: unset one of them",
    )


def test_a_missing_secret_file_is_an_error(tmp_path: Path) -> None:
    """A file that is named and cannot be read is told, not passed over."""
    path = tmp_path / "missing"
    expected = f"delay from secret file {path}: cannot be read: No such file or directory"

    assert refusal({"CRAWL_DELAY_FILE": str(path)}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dellay = 1", 'there is no setting "dellay" (did you mean delay?)'),
        ("DELAY = 1", 'there is no setting "DELAY" (did you mean delay?)'),
        ("CRAWL_GRACE = 1", 'there is no setting "CRAWL_GRACE" (did you mean grace?)'),
        ("[fetch]\ndelay = 1", 'there is no setting "fetch"; settings stand by themselves, without [tables]'),
    ],
)
def test_an_unknown_name_in_a_file_is_an_error(tmp_path: Path, text: str, expected: str) -> None:
    """The file, the name and the nearest known one are told."""
    config = tmp_path / "crawl.toml"
    config.write_text(text)

    assert refusal(config=config) == f"{config}: {expected}"


@pytest.mark.parametrize("content", [b"delay: 5", b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    """No TOML, no text, no file: one line that names the file."""
    config = tmp_path / "crawl.toml"
    if content is not None:
        config.write_bytes(content)
    line = refusal(config=config)

    assert line.startswith(f"{config}: ")
    assert "\n" not in line


def test_an_unknown_variable_is_a_warning() -> None:
    """A `CRAWL_*` variable that nobody reads is named with the nearest known one; tests have their own."""
    environ = {
        "CRAWL_DELAI": "1",
        "CRAWL_TEST_X": "1",
        "CRAWL_HOSTS_FILE_FILE": "",
        "CRAWL_CONFIG": "",
        "OTHER": "1",
    }

    assert loaded(environ).warnings == (
        "nothing reads the environment variable CRAWL_DELAI (did you mean CRAWL_DELAY?)",
    )


def test_what_is_empty_is_not_given() -> None:
    """An empty variable and an option left out change nothing."""
    found = loaded(
        {"CRAWL_DELAY": "", "CRAWL_CONTACT": " "}, given={"allow_nets": (), "grace": None, "user_agent": ""}
    )

    assert found.settings == Settings()
    assert set(found.origins.values()) == {"default"}


def test_none_takes_back_an_optional_setting(tmp_path: Path) -> None:
    """The word none undoes what an earlier source gave, and only where none makes sense."""
    config = tmp_path / "crawl.toml"
    config.write_text("allow_nets = ['10.0.0.0/8']\nmax_open_files = 100")
    found = loaded({"CRAWL_ALLOW_NETS": "none", "CRAWL_MAX_OPEN_FILES": "None"}, config).settings

    assert (found.allow_nets, found.max_open_files) == ((), None)
    assert refusal({"CRAWL_DELAY": "none"}).startswith(
        'delay from environment CRAWL_DELAY: "none" is not a duration'
    )


def test_lists_are_arrays_or_commas(tmp_path: Path) -> None:
    """A list is a TOML array in a file and comma-separated in a variable; each item counts once."""
    config = tmp_path / "crawl.toml"
    config.write_text("dns_servers = ['9.9.9.9', '[::1]:5353', '9.9.9.9:53', '2620:fe::fe']")
    found = loaded({"CRAWL_ALLOW_NETS": "10.0.0.0/8, fd00::/8 ,127.0.0.1"}, config).settings

    assert found.dns_servers == (("9.9.9.9", 53), ("::1", 5353), ("2620:fe::fe", 53))
    assert found.allow_nets == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1/32"))


def test_a_path_in_a_file_starts_at_the_file(tmp_path: Path) -> None:
    """A relative path in a file is relative to the file's folder."""
    config = tmp_path / "crawl.toml"
    (tmp_path / "ca.pem").touch()
    config.write_text("data = 'db'\ntls_ca_file = 'ca.pem'")
    found = loaded(config=config).settings

    assert (found.data, found.tls_ca_file) == (tmp_path / "db", tmp_path / "ca.pem")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "delay",
            "5x",
            '"5x" is not a duration (seconds, or a number with ms, s, m, h or d), for example 30s',
        ),
        ("delay", "-1", '"-1" is not a duration'),
        ("delay", "nan", '"nan" is not a duration'),
        ("delay", "1e400", '"1e400" is not a duration'),
        ("delay", "\u0665s", '"\u0665s" is not a duration'),
        ("work_lease", "3s", '"3s" is not a duration from 4s to 1d'),
        ("grace", "\x1b[31m", r'"\x1b[31m" is not a duration'),
        ("max_body", "0.5", '"0.5" is not a size from 1 to 512MiB'),
        ("max_body", "1TiB", '"1TiB" is not a size from 1 to 512MiB'),
        ("per_domain", "0", '"0" is not a whole number from 1 to 64, for example 2'),
        ("per_domain", "1.5", '"1.5" is not a whole number'),
        ("tls_verify", "maybe", '"maybe" is not true or false, for example true'),
        ("dns_servers", "dns.example", '"dns.example" is not a list of IP[:PORT]'),
        ("dns_servers", "9.9.9.9:0", '"9.9.9.9:0" is not a list of IP[:PORT]'),
        ("tls_ca_file", "/no/such", '"/no/such" is not an existing file'),
        ("postgres_bin", "/no/such", '"/no/such" is not an existing folder'),
        ("contact", "me", '"me" is not a URL or an e-mail address, for example https://example.com/bot'),
        ("contact", "https://example.com/(x)", '"https://example.com/(x)" is not a URL'),
        ("user_agent", "bot\u20ac/1", '"bot\u20ac/1" is not a user agent'),
        ("user_agent", "bot\r\nX: y", r'"bot\r\nX: y" is not a user agent'),
        ("user_agent", "4bot/1.0", '"4bot/1.0" is not a user agent'),
        ("parser", "lxml", '"lxml" is not one of turbohtml, html5lib, for example turbohtml'),
        ("database_url", "mysql://u:hidden@h/d", "******** is not a PostgreSQL address"),
    ],
)
def test_a_bad_value_is_one_clear_line(name: str, value: str, expected: str) -> None:
    """Name, source, value, what is expected, an example; no secret, and nothing a terminal would obey."""
    line = refusal({f"CRAWL_{name.upper()}": value})

    assert line.startswith(f"{name} from environment CRAWL_{name.upper()}: {expected}")
    assert ", for example " in line
    assert line.isprintable()


@pytest.mark.parametrize(
    "text", ["delay = true", "per_domain = true", "delay = inf", "allow_nets = [10]", "data = 5"]
)
def test_toml_has_its_own_types(tmp_path: Path, text: str) -> None:
    """A number is no flag, a flag is no number, and neither is a path or a network."""
    config = tmp_path / "crawl.toml"
    config.write_text(text)

    assert refusal(config=config).startswith(f"{text.partition(' ')[0]} from file {config}: ")


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Each bad value has a line of its own."""
    assert len(refusal({"CRAWL_DELAY": "x", "CRAWL_GRACE": "y"}).splitlines()) == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"total_timeout": 15, "first_byte_timeout": 12}, "total_timeout is shorter than read_timeout"),
        ({"queue_lease": 130, "work_lease": 140}, "queue_lease is shorter than work_lease"),
        ({"turn_seconds": 580}, "queue_lease is shorter than turn_seconds and total_timeout together"),
        ({"delay": "20m"}, "max_crawl_delay is shorter than delay"),
    ],
)
def test_settings_must_not_contradict(given: dict[str, object], expected: str) -> None:
    """Values that are good one by one and not together are refused, with where each came from."""
    line = refusal(given=given)

    assert line.startswith(f"{expected}: ")
    assert "command line" in line
    assert "default" in line or len(given) > 1


def test_no_unsound_settings_exist() -> None:
    """The checks hold however a Settings is made."""
    with pytest.raises(SettingsError, match="total_timeout is shorter than connect_timeout"):
        Settings(total_timeout=1.0)


def test_three_renewals_fit_a_lease() -> None:
    """A work lease is renewed every quarter of it."""
    found = Settings(work_lease=40.0)

    assert found.renewal == 10.0


@pytest.mark.parametrize(
    ("given", "agent", "token"),
    [
        ({}, "faircrawl/", "faircrawl"),
        ({"contact": "https://example.com/bot"}, "(+https://example.com/bot)", "faircrawl"),
        ({"user_agent": "MyBot/2.0 (x)", "contact": "a@example.com"}, "MyBot/2.0 (x)", "MyBot"),
    ],
)
def test_the_user_agent_names_us(given: dict[str, object], agent: str, token: str) -> None:
    """The contact goes into our own user agent; a user's own stands as it is."""
    found = loaded(given=given).settings

    assert agent in found.user_agent
    assert token == found.product_token


@pytest.mark.parametrize("given", [{"user_agent": "Mozilla/5.0 (compatible; x)"}, {"tls_verify": False}])
def test_what_is_seldom_meant_is_a_warning(given: dict[str, object]) -> None:
    """What is allowed and seldom meant is told."""
    assert len(loaded(given=given).warnings) == 1


def test_the_winning_source_chooses_the_database() -> None:
    """`--data` puts aside a database from the environment; one source cannot name both."""
    environ = {"CRAWL_DATABASE_URL": "postgresql:///crawl"}
    here = loaded(environ, given={"data": Path("d")}).settings

    assert (here.data, here.database_url) == (Path("d"), None)
    assert "give one of them" in refusal({**environ, "CRAWL_DATA": "d"})


def test_every_setting_says_what_it_is() -> None:
    """Each has a kind and one sentence of help, and its default is a value of its kind."""
    for field in FIELDS.values():
        about = field.metadata["help"]

        assert about.endswith(".")
        assert about.isprintable()
        if field.default not in (None, "", ()):
            assert field.metadata["kind"].accept(field.default) == field.default


def test_what_is_shown_is_understood() -> None:
    """Every row's text, given again, leads to the same settings."""
    environ = {
        "CRAWL_DNS_SERVERS": "[::1]:5353,1.1.1.1",
        "CRAWL_ALLOW_NETS": "10.0.0.0/8",
        "CRAWL_DELAY": "1.5s",
    }
    found = loaded(environ)
    again = loaded(given={row.name: row.value for row in describe(found)})

    assert again.settings == found.settings


def test_passwords_are_masked() -> None:
    """No password is shown, wherever a URL may hide it, nor in a repr; the rest of the URL is."""
    found = loaded({"CRAWL_DATABASE_URL": "postgresql://me:p%40s@db/crawl?sslpassword=hidden&x=1"})
    row = describe(found)[0]

    assert (row.name, row.value) == (
        "database_url",
        "postgresql://me:********@db/crawl?sslpassword=********&x=1",
    )
    assert row.raw == row.value
    assert "p%40s" not in repr(found)
    assert mask("postgresql://me:p@s/s?w@db/crawl") == "postgresql://me:********@db/crawl"
    assert mask("word") == "********"
    assert mask("postgresql://me@db/crawl") == "postgresql://me@db/crawl"


def test_settings_do_not_change() -> None:
    """Settings are read once."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().delay = 2.0  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("7d", 604800),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("90", 90),
        (" 5 M ", 300),
    ],
)
def test_durations_are_written_as_a_person_would(text: str, seconds: float) -> None:
    """A number and a unit, or bare seconds."""
    assert seconds == parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("10MiB", 10 << 20), ("64KiB", 64 << 10), ("1MB", 1_000_000), ("17", 17), ("1.5 kib", 1536)],
)
def test_sizes_are_written_as_a_person_would(text: str, size: int) -> None:
    """A number and a unit, or bare bytes."""
    assert size == parse_size(text)


@given(st.integers(0, 10**14))
def test_shown_amounts_are_read_back(count: int) -> None:
    """Whatever is shown of a duration (to the microsecond) or a size is read as the same amount."""
    seconds = count / 1_000_000

    assert seconds == parse_duration(show_duration(seconds))
    assert count == parse_size(show_size(count))


@given(st.text())
def test_any_text_is_an_amount_or_a_clear_line(text: str) -> None:
    """Nothing but SettingsError comes of reading a text."""
    for parse in (parse_duration, parse_size):
        with contextlib.suppress(SettingsError):
            assert parse(text) >= 0
