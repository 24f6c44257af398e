"""`make secrets` and `make image`: what they make, what they keep, and what they say of what is in their way."""

import os
import re
import stat
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from tests.deploy.composed import composed, secrets_of, services
from tests.deploy.files import ROOT

MAKER: Final = ROOT / "deploy" / "secrets.sh"


def making(*words: str | Path, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """The command that makes the secrets, with these words, in a folder."""
    return subprocess.run(
        ["sh", MAKER, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


def secrets_made(folder: Path) -> str:
    """What it says when it makes them."""
    done = making(folder)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_secrets(tmp_path: Path) -> None:
    """The command makes every secret that is asked for, each for its owner alone to reach, with no word of what it is."""
    folder = tmp_path / "secrets"
    told = secrets_made(folder)
    made = {file.name: file.read_text("utf-8").strip() for file in folder.iterdir()}
    wanted = {name for service in services().values() for name in secrets_of(service)}

    assert composed()["secrets"] == {name: {"file": f"./secrets/{name}"} for name in composed()["secrets"]}
    assert made.keys() == composed()["secrets"].keys() == wanted
    assert not [name for name, text in made.items() if text and text in told]
    assert {name for name, text in made.items() if not text} == {
        "crawl_sentry_dsn",
        "smtp_password",
        "pager_token",
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o644}
    assert (
        made["crawl_database_url"]
        == f"postgresql://crawler:{made['postgres_password']}@postgres:5432/crawler"
    )
    assert made["crawl_amqp_url"] == f"amqp://crawler:{made['rabbitmq_password']}@rabbitmq:5672/crawler"
    assert len({text for text in made.values() if re.fullmatch(r"[0-9a-f]{48}", text)}) == 4


def test_secrets_are_kept(tmp_path: Path) -> None:
    """None that is there is overwritten, and a password is not made anew under a URL that holds the old one."""
    secrets_made(tmp_path)
    before = {file.name: file.read_text("utf-8") for file in tmp_path.iterdir()}
    secrets_made(tmp_path)
    after = {file.name: file.read_text("utf-8") for file in tmp_path.iterdir()}
    (tmp_path / "postgres_password").unlink()
    done = making(tmp_path)

    assert before == after
    assert done.returncode == 1
    assert re.fullmatch(
        r"secrets: crawl_database_url is there and postgres_password is not: .+\n", done.stderr
    )


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"postgres_password": ""}, "secrets/postgres_password is empty: remove it, and run this again"),
        ({"rabbitmq_password": " \n"}, "secrets/rabbitmq_password is empty: remove it, and run this again"),
        ({"crawl_amqp_url": ""}, "secrets/crawl_amqp_url is empty: remove it, and run this again"),
        ({"crawl_api_token": ""}, "secrets/crawl_api_token is empty: remove it, and run this again"),
        (
            {"postgres_password": "", "crawl_database_url": "postgresql://crawler:word@postgres/crawler"},
            "secrets/postgres_password is empty: write the password that stands in secrets/crawl_database_url into it",
        ),
        (
            {"postgres_password": "a@b/c\n"},
            "secrets/postgres_password needs escaping in a URL: write one of letters, digits and -._~, or remove it, and run this again",
        ),
        ({"postgres_password/file": ""}, "secrets/postgres_password is no file: remove it, and run this again"),
        (
            {"grafana_password.new/file": ""},
            "secrets/grafana_password cannot be written: see who owns secrets and whether the disk is full, and run this again",
        ),
    ],
)  # fmt: skip
def test_secrets_of_ones_own_that_do_not_fit(tmp_path: Path, files: dict[str, str], says: str) -> None:
    """One line says which file it is, and what to do, and not what is in it."""
    for name, text in files.items():
        file = tmp_path / "secrets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    done = making("secrets", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (1, f"secrets: {says}\n")
    assert all((tmp_path / "secrets" / name).read_text("utf-8") == text for name, text in files.items())


def test_a_secret_of_ones_own(tmp_path: Path) -> None:
    """A password that fits is taken; one that does not is no matter if the URL is there, with what it needs."""
    (tmp_path / "postgres_password").write_text("Own-word_1.~\n", "utf-8")
    (tmp_path / "rabbitmq_password").write_text("a@b/c", "utf-8")
    (tmp_path / "crawl_amqp_url").write_text("amqp://crawler:a%40b%2Fc@rabbitmq:5672/crawler", "utf-8")
    secrets_made(tmp_path)

    assert (
        tmp_path / "crawl_database_url"
    ).read_text() == "postgresql://crawler:Own-word_1.~@postgres:5432/crawler\n"
    assert (tmp_path / "rabbitmq_password").read_text() == "a@b/c"


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("secrets", "secrets is no folder: move it away, and run this again"),
        (
            "secrets/more",
            "secrets/more cannot be made (Not a directory): make it yourself, or run this as somebody who may",
        ),
        ("--folder", "there is no option --folder: deploy/secrets.sh --help says what there is"),
    ],
)
def test_no_folder_for_secrets(tmp_path: Path, folder: str, says: str) -> None:
    """A folder that cannot be made or written is named in one line."""
    (tmp_path / "secrets").touch()
    done = making(folder, cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"secrets: {says}\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_the_folder_of_somebody_else() -> None:
    """Who does not own the folder is told so in one line, and nothing is made in it."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        done = subprocess.run(
            ["sh", "-s", folder], input=MAKER.read_text("utf-8"), cwd="/", user=65534, group=65534, extra_groups=(),
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

        assert done.returncode == 1
        assert done.stderr == (
            f"secrets: {folder} cannot be made yours alone (Operation not permitted): "
            "run this as its owner, or remove it\n"
        )
        assert list(Path(folder).iterdir()) == []


def test_paths_of_secrets_are_readable(tmp_path: Path) -> None:
    """Without a folder it is the one beside docker-compose.yml, wherever the command is run, and is called secrets."""
    script = tmp_path / "deploy" / "secrets.sh"
    script.parent.mkdir()
    script.write_bytes(MAKER.read_bytes())
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "postgres_password").touch()
    done = subprocess.run(["sh", script], cwd="/", capture_output=True, text=True, check=False, timeout=60)

    assert done.stderr == "secrets: secrets/postgres_password is empty: remove it, and run this again\n"


def test_help_with_secrets(tmp_path: Path) -> None:
    """Whoever asks what it does is told, and nothing is made."""
    done = making("--help", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"deploy/secrets\.sh \[FOLDER\]: .+\n", done.stdout)
    assert list(tmp_path.iterdir()) == []


def engine(folder: Path, **answers: int) -> "subprocess.CompletedProcess[str]":
    """`make image` with a docker and a podman that end `info` so."""
    for name, status in answers.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\n[ "$1" != info ] || exit {status}\necho "{name} $1"\n', "utf-8")
        program.chmod(0o755)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "ENGINE"))
    }
    return subprocess.run(
        ["make", "--silent", "image"], cwd=ROOT, env={**environment, "PATH": f"{folder}:{environment['PATH']}"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("docker", "podman", "takes"), [(0, 0, "docker"), (1, 0, "podman"), (0, 1, "docker")]
)
def test_the_first_engine_that_answers_builds(tmp_path: Path, docker: int, podman: int, takes: str) -> None:
    """A docker without its daemon is no engine if podman is one."""
    done = engine(tmp_path, docker=docker, podman=podman)

    assert (done.returncode, done.stdout) == (0, f"{takes} build\n")


def test_no_engine_answers(tmp_path: Path) -> None:
    """Those that are there and do not answer are named."""
    done = engine(tmp_path, docker=1, podman=1)

    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "no answer from docker and podman: start the daemon; docker info says what is wrong"
    )


def test_an_engine_that_is_not_installed() -> None:
    """Its name is said, and what else can be done."""
    done = subprocess.run(
        ["make", "image", "ENGINE=no-such-engine"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "no-such-engine is not installed: install it, or leave out ENGINE= to take docker or podman"
    )
