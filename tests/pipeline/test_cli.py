"""The command line speaks plainly, whatever it is asked and wherever its output goes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from pipeline.commands.ingest import ingest
from tests.workspace import ROOT, Workspace
from tests.zips import File, zipped

COMMANDS = [
    "ingest",
    "status",
    "rejects",
    "runs",
    "db",
    "db start",
    "db stop",
    "db url",
    "db migrate",
    "db shell",
]


@pytest.fixture
def workspace(tmp_path: Path, database_url: str) -> Workspace:
    """Give an empty workspace."""
    return Workspace(tmp_path, database_url)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(tmp_path: Path, command: str) -> None:
    """Every command says what it does, and touches nothing."""
    words = [sys.executable, "-m", "pipeline", *command.split(), "--help"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: python -m pipeline" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_version(workspace: Workspace) -> None:
    """`--version` says which release this is."""
    told = workspace.run("--version")
    assert (told.code, told.out) == (0, f"image-pipeline, version {version('image-pipeline')}\n")


def test_stopping_what_does_not_run(tmp_path: Path) -> None:
    """`db stop` says that there was nothing to stop, which is no error."""
    told = Workspace(tmp_path, "").run("db", "stop")
    assert (told.code, told.err) == (0, "It was not running.\n")


def test_help_is_whole(workspace: Workspace) -> None:
    """The list of commands says each sentence to its end, and sizes have units."""
    listed = workspace.run("--help").out.split("Commands:\n", 1)[1]
    assert "..." not in listed
    assert "until SIGTERM or Ctrl-C." in " ".join(listed.split())
    assert "default: 64MiB" in " ".join(workspace.run("ingest", "--help").out.split())


def test_every_option_has_its_environment_variable(workspace: Workspace) -> None:
    """`ingest --help` names a variable beside each option but --plan and --help."""
    text = workspace.run("ingest", "--help").out
    blocks = re.split(r"\n  (?=-)", text.split("Options:\n", 1)[1])
    for block in blocks:
        name = block.split()[0]
        if name not in {"--plan", "-h,", "--help"}:
            assert re.search(r"env\s+var:\s+[A-Z_]+", block), block


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["ingest", "--zip-encoding", "klingon"],
        ["ingest", "--zip-encoding", "rot13"],
        ["ingest", "--max-ratio", "0"],
        ["ingest", "--max-ratio", "nan"],
        ["ingest", "--timeout", "inf"],
        ["ingest", "--timeout", "1e300"],
        ["ingest", "--worker-memory", "1e30"],
        ["ingest", "--worker-memory", "1M"],
        ["ingest", "--sink", "api", "--api-url", "http://[::1"],
        ["ingest", "--sink", "api", "--api-url", "http://127.0.0.1:99999"],
        ["ingest", "--sink", "api", "--api-url", "http://127.0.0.1:1/\n"],
        ["ingest", "--engine", "steam"],
        ["ingest", "--extracted", "static/x"],
        ["rejects", "--format", "xml"],
        ["db", "explode"],
        ["ingest", "--database-url", "nonsense"],
        ["status", "--database-url", "nonsense"],
        ["db", "url", "--database-url", "nonsense"],
        ["ingest", "--input", "nothere"],
        ["watch", "--input", "nothere"],
        ["ingest", "--report", "nothere/report.json"],
        ["ingest", "--metrics-file", "nothere/images.prom"],
        ["schedule", "--install", "--units", "units", "--", "--metrics-file", "nothere/images.prom"],
        ["ingest", "nothere.zip"],
        ["retry", "nothere"],
        ["verify", "nothere"],
    ],
)
def test_wrong_usage(workspace: Workspace, arguments: list[str]) -> None:
    """Wrong usage exits with 2 and a message, without a traceback."""
    ran = workspace.run(*arguments)
    assert ran.code == 2
    assert "error" in ran.err.lower()
    assert "Traceback" not in ran.err
    assert ("nothere" in ran.err) == ("nothere" in "".join(arguments))
    assert not list(workspace.root.glob("nothere*"))


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--time-limit", "0s", "'0s' is no time at all"),
        ("--time-limit", "0", "'0' is no time at all"),
        ("--time-limit", "", "'' is not a duration"),
        ("--time-limit", "-5s", "'-5s' is not a duration"),
        ("--time-limit", "99999d", "'99999d' is longer than can be counted"),
        ("--batch-bytes", "0", "'0' is too little; the least is 1"),
        ("--batch-bytes", "-1", "'-1' is not a size"),
        ("--worker-memory", "1M", "'1M' is too little; the least is 128MiB"),
    ],
)
def test_amounts_that_make_no_sense(option: str, value: str, told: str) -> None:
    """Nothing, too little and too much are told from what is no amount at all."""
    with pytest.raises(click.UsageError) as refused:
        ingest.make_context("ingest", [option, value])
    assert told in refused.value.format_message()


def test_nothing_where_it_is_the_default() -> None:
    """A zip need not be left alone, and no disk space need be kept."""
    params = ingest.make_context("ingest", ["--settle", "0", "--reserve", "0"]).params
    assert (params["settle"], params["reserve"]) == (0, 0)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("PIPELINE_BATCH_SIZE", "many", "PIPELINE_BATCH_SIZE"),
        ("PIPELINE_INPUT", "nothere", "nothere"),
        ("DATABASE_URL", "nonsense", "database URL"),
    ],
)
def test_wrong_environment(workspace: Workspace, variable: str, value: str, told: str) -> None:
    """A variable that makes no sense is wrong usage, and the message says what is wrong."""
    environ = {**workspace.environ, variable: value}
    done = subprocess.run(
        workspace.command("ingest"),
        cwd=workspace.root,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert told in done.stderr


def test_a_plan_leaves_no_trace(workspace: Workspace) -> None:
    """Not even the input folder is made."""
    for folder in (workspace.input, workspace.extracted, workspace.static):
        folder.rmdir()
    done = subprocess.run(
        workspace.command("ingest", "--plan"), cwd=workspace.root, capture_output=True, text=True, check=False,
        env={name: text for name, text in workspace.environ.items() if not name.startswith("PIPELINE_")},
    )  # fmt: skip
    assert (done.returncode, "Nothing to do" in done.stdout) == (0, True)
    assert list(workspace.root.iterdir()) == []


def test_a_plan_speaks_of_archives(workspace: Workspace) -> None:
    """A code that members share has the archive's meaning, and verdicts are set below each other."""
    whole = zipped([File(b"../a.jpg", b"x" * 99), File(b"Thumbs.db", b"x")])
    (workspace.input / "cut.zip").write_bytes(whole[:-30])
    (workspace.input / "whole.zip").write_bytes(whole)
    said = workspace.ingest("--plan").out
    assert "The archive ends too early" in said
    assert "The image ends too early" not in said
    (escape,) = [line for line in said.splitlines() if "../a.jpg" in line]
    (litter,) = [line for line in said.splitlines() if "Thumbs.db" in line]
    assert escape.index("path-escape") == litter.index("litter")


@pytest.mark.slow
def test_names_that_a_terminal_cannot_show(workspace: Workspace) -> None:
    """Letters that the output's encoding lacks are escaped; so is what could steer a terminal."""
    names = ["ж\u202e.txt", "a\x1b[31m.txt", "line\nbreak.txt", "=1+1.txt"]
    (workspace.input / "a.zip").write_bytes(zipped([File(name.encode(), flags=0x800) for name in names]))
    assert workspace.ingest().code == 0
    environ = {**workspace.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    for form in ("table", "csv", "json"):
        done = subprocess.run(
            workspace.command("rejects", "--format", form),
            cwd=workspace.root,
            env=environ,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"\\u0436" in done.stdout or "ж".encode() in done.stdout
        assert b"\x1b" not in done.stdout
        if form == "table":
            assert len(done.stdout.splitlines()) == 4
        if form == "csv":
            assert b",'=1+1.txt," in done.stdout
            assert len(done.stdout.splitlines()) == 5


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written(workspace: Workspace) -> None:
    """A full disk or a closed pipe behind the output is told without a traceback."""
    (workspace.input / "a.zip").write_bytes(zipped([File(b"%d.txt" % number) for number in range(3000)]))
    assert workspace.ingest().code == 0
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            workspace.command("rejects"), cwd=workspace.root, env=workspace.environ,
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr
    with subprocess.Popen(
        workspace.command("rejects"), cwd=workspace.root, env=workspace.environ,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_ctrl_c_while_starting(workspace: Workspace, pause: float) -> None:
    """However early it comes, Ctrl-C ends the program without a traceback of its own."""
    with subprocess.Popen(
        workspace.command("ingest"), cwd=workspace.root, env=workspace.environ,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        time.sleep(0.08 + pause)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    assert process.returncode in {0, 1, -signal.SIGINT}
    # Before its first lines have run, Ctrl-C belongs to Python.
    ours = err.replace("pipeline/__main__.py", "")
    assert f"{ROOT}/pipeline/" not in ours or "Traceback" not in ours


@pytest.mark.slow
def test_an_archive_by_any_path(workspace: Workspace, tmp_path: Path) -> None:
    """Spaces, line breaks and bytes that are no text in a path are fine; so is another directory."""
    for number, name in enumerate(
        [b"a b.zip", b"line\nbreak.zip", b"\xff\xfe.zip", "ж.zip".encode(), b"-rf.zip"]
    ):
        path = os.path.join(os.fsencode(workspace.input), name)
        with open(path, "wb") as file:
            file.write(zipped([File(b"%d.txt" % number)]))
    ran = workspace.ingest()
    assert ran.code == 0, ran.err
    assert {archive["verdict"] for archive in ran.report["archives"]} == {"done"}
    assert len(ran.report["archives"]) == 5
    status = workspace.run("status")
    assert (status.code, len(status.out.splitlines())) == (0, 6)
