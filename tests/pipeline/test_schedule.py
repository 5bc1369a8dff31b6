"""Units and cron lines say what they should, whatever the folder is called; systemd itself reads them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import SettingsError
from pipeline.schedule import Schedule

ROOT = Path(__file__).resolve().parent.parent.parent
ODD = 'it\'s 100% "odd" $HOME \\ {x}'


def plan(root: Path, every: float | None = 600.0, **more: object) -> Schedule:
    """Plan a schedule below a folder."""
    values: dict[str, object] = {
        "root": root,
        "python": Path(sys.executable),
        "arguments": ("--after", "move"),
        "folders": (root / "in", root / "out"),
        "data": root / ".data",
        "every": every,
        "user": "daemon",
    }
    return Schedule(**{**values, **more})  # type: ignore[arg-type]


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Ask systemd-analyze, or skip."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("every", [600.0, None])
@pytest.mark.parametrize("system", [True, False])
@pytest.mark.parametrize("user", ["daemon", ""])
def test_systemd_takes_the_units(tmp_path: Path, every: float | None, system: bool, user: str) -> None:
    """systemd-analyze finds no fault with any kind of unit, below a folder with every odd character."""
    root = tmp_path / ODD
    root.mkdir()
    files = plan(root, every, system=system, user=user).units("image-pipeline")
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    done = analyze(
        "verify", "--man=no", *(["--user"] if not system else []), *(tmp_path / name for name in files)
    )
    ours = [line for line in done.stderr.splitlines() if "image-pipeline" in line or str(tmp_path) in line]
    assert ours == []


@pytest.mark.parametrize(("user", "most"), [("daemon", 2.5), ("", 4.0)])
def test_the_service_is_hardened(tmp_path: Path, user: str, most: float) -> None:
    """systemd-analyze security rates what an attacker could still do as little."""
    unit = tmp_path / "image-pipeline.service"
    unit.write_text(plan(tmp_path, user=user).units("image-pipeline")[unit.name], "utf-8")
    done = analyze("security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip(f"this systemd does not rate unit files: {done.stderr}")
    assert float(found.group(1)) <= most


def test_the_cron_line_runs(tmp_path: Path) -> None:
    """What cron hands to the shell runs the program in its folder, with its arguments."""
    root = tmp_path / ODD
    root.mkdir()
    python = tmp_path / "py %thon"
    python.write_text('#!/bin/sh\npwd\nfor word in "$@"; do echo "[$word]"; done\n')
    python.chmod(0o755)
    line = plan(
        root, python=python, arguments=("--report", "a b%c"), environ={"PIPELINE_X": "1 %"}
    ).cron_line()
    assert line.startswith("*/10 * * * * ")
    assert not re.search(r"(?<!\\)%", line)
    command = line.split(" ", 5)[5].replace("\\%", "%")
    subprocess.run(["/bin/sh", "-c", command], check=True, cwd="/")
    said = (root / ".data" / "cron.log").read_text("utf-8").splitlines()
    assert said == [str(root), "[-m]", "[pipeline]", "[ingest]", "[--report]", "[a b%c]"]


@pytest.mark.parametrize(
    ("seconds", "times"),
    [(1, "* * * * *"), (600, "*/10 * * * *"), (2400, "*/30 * * * *"), (3600, "0 * * * *"), (18000, "0 */4 * * *"),
     (200_000, "0 3 * * *")],
)  # fmt: skip
def test_cron_times(tmp_path: Path, seconds: float, times: str) -> None:
    """What cron cannot say is rounded to what runs more often."""
    assert plan(tmp_path, every=seconds).cron_line().startswith(f"{times} cd ")


def test_files_are_linked_within_one_mount(tmp_path: Path) -> None:
    """All that lies in the project may be linked and moved: one path is writable; others come beside it."""
    (text,) = [text for name, text in plan(tmp_path).units("x").items() if name.endswith("service")]
    assert f"\nReadWritePaths={tmp_path}\n" in text
    away = (tmp_path / "in", Path("/srv/images/extracted"), Path("/srv/images/static"))
    (text,) = [
        text for name, text in plan(tmp_path, folders=away).units("x").items() if name.endswith("service")
    ]
    assert f"\nReadWritePaths={tmp_path} /srv/images\n" in text


def test_a_folder_that_no_unit_can_hold(tmp_path: Path) -> None:
    """A line break in a name is refused, not written."""
    with pytest.raises(SettingsError, match="control character"):
        plan(tmp_path / "a\nb")


def schedule(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "schedule", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": "postgresql://secret"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_install_and_remove(tmp_path: Path) -> None:
    """Units are written and removed; another project's are not touched; secrets stay out of them."""
    units, one, two = (tmp_path / name for name in ("units", "one", "two"))
    for folder in (one, two):
        folder.mkdir()
    assert "[Timer]" in schedule(one).stdout
    assert not units.exists()
    assert schedule(one, "--install", "--units", units, "--every", "5m").returncode == 0
    assert sorted(path.name for path in units.iterdir()) == ["image-pipeline.service", "image-pipeline.timer"]
    assert "://secret" not in (units / "image-pipeline.service").read_text("utf-8")
    assert "OnUnitInactiveSec=300s" in (units / "image-pipeline.timer").read_text("utf-8")
    refused = schedule(two, "--install", "--units", units)
    assert (refused.returncode, "another project" in refused.stderr) == (2, True)
    assert schedule(two, "--install", "--units", units, "--name", "second", "--watch").returncode == 0
    assert "pipeline watch" in (units / "second.service").read_text("utf-8")
    for name in ("image-pipeline", "second", "second"):
        assert schedule(one, "--remove", "--units", units, "--name", name).returncode == 0
    assert list(units.iterdir()) == []


def test_every_folder_that_is_written_to_is_made_and_writable(tmp_path: Path) -> None:
    """Folders named by the options of the run lie outside the project too."""
    root, away = tmp_path / "root", tmp_path / "away"
    root.mkdir()
    (away / "metrics").mkdir(parents=True)
    words = ("--after", "move", "--quarantine", away / "odd", "--metrics-file", away / "metrics" / "x.prom")
    assert schedule(root, "--install", "--units", tmp_path / "units", "--", *words).returncode == 0
    assert sorted(path.name for path in away.iterdir()) == ["metrics", "odd"]
    assert (tmp_path / "processed").exists() is False
    assert {"processed", "failed", "images_zip_input", "extracted", "static", ".data"} <= {
        p.name for p in root.iterdir()
    }
    unit = (tmp_path / "units" / "image-pipeline.service").read_text("utf-8")
    # Only units of the system, root's, can confine what is written.
    assert (f"\nReadWritePaths={root} {away}\n" in unit) is (os.geteuid() == 0)


def test_nonsense_is_refused(tmp_path: Path) -> None:
    """Options that a run would not take are refused before they are written anywhere."""
    assert schedule(tmp_path, "--", "--frobnicate").returncode == 2
    assert schedule(tmp_path, "--every", "sometimes").returncode == 2
    assert schedule(tmp_path, "--name", "../x").returncode == 2
