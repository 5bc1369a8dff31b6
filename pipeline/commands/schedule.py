"""`schedule`: run the pipeline again and again, by systemd or cron."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import click

from pipeline.commands.options import Duration, make_settings
from pipeline.errors import PipelineError, SettingsError
from pipeline.schedule import Schedule

SYSTEM_UNITS = Path("/etc/systemd/system")
SECRETS = frozenset({"DATABASE_URL", "IMAGE_API_TOKEN"})


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--every", type=Duration(), default="10m", show_default=True, help="How often to run.")
@click.option("--watch", is_flag=True, help="Watch the folder all the time instead.")
@click.option("--install", "action", flag_value="install", help="Install the units and start them.")
@click.option("--remove", "action", flag_value="remove", help="Stop the units and remove them.")
@click.option("--name", default="image-pipeline", show_default=True, help="What the units are called.")
@click.option(
    "--units", type=click.Path(path_type=Path, file_okay=False), default=None,
    help="Folder of unit files.  [default: the system's for root, else the user's own]",
)  # fmt: skip
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- INGEST OPTIONS]...")
def schedule(  # noqa: PLR0913 - click hands every option over by name
    *,
    every: float,
    watch: bool,
    action: str | None,
    name: str,
    units: Path | None,
    arguments: tuple[str, ...],
) -> None:
    """Print systemd units and a cron line that run the pipeline in this folder; or install or remove the units.

    What comes after -- is passed on to `ingest` or `watch`.
    """
    system = os.geteuid() == 0
    folder = units or (SYSTEM_UNITS if system else Path.home() / ".config/systemd/user")
    if not name.replace("-", "").replace("_", "").isalnum():
        raise SettingsError(f"--name {name!r} must be made of letters, digits, - and _.")
    if action == "remove":
        _remove(folder, name, manage=units is None)
        return
    plan = _plan(None if watch else every, arguments, system=system)
    files = plan.units(name)
    if action == "install":
        _install(folder, files, plan, manage=units is None)
        return
    for file, text in files.items():
        click.echo(f"# {folder / file}\n{text}")
    click.echo(f"# Or, for crontab -e:\n{plan.cron_line()}")


def _plan(every: float | None, arguments: tuple[str, ...], *, system: bool) -> Schedule:
    from pipeline.commands.ingest import ingest  # noqa: PLC0415
    from pipeline.commands.watch import watch  # noqa: PLC0415

    if every is not None and not any(word.partition("=")[0] == "--settle" for word in arguments):
        arguments = (*arguments, "--settle", "30s")
    command = ingest if every is not None else watch
    with command.make_context(command.name or "", list(arguments)) as context:
        values = dict(context.params)
    settings = make_settings(values)
    accounts = [values[key].parent for key in ("report", "metrics_file") if values.get(key)]
    places = [settings.input, settings.extracted, settings.static, settings.data, *accounts]
    if settings.quarantine:
        places.append(settings.quarantine)
    if settings.after == "move":
        places += [settings.processed_folder, settings.failed_folder]
    elif settings.after == "keep":
        places.remove(settings.input)
    owner = Path.cwd().stat().st_uid
    environ = {key: value for key, value in os.environ.items() if key.startswith("PIPELINE_")}
    return Schedule(
        root=Path.cwd(),
        python=Path(sys.executable),
        arguments=arguments,
        folders=tuple(dict.fromkeys(place.absolute() for place in places)),
        data=settings.data.absolute(),
        every=every,
        user=pwd.getpwuid(owner).pw_name if owner and system else "",
        system=system,
        environ={key: value for key, value in environ.items() if key not in SECRETS},
    )


def _install(folder: Path, files: dict[str, str], plan: Schedule, *, manage: bool) -> None:
    if manage and not Path("/run/systemd/system").is_dir():
        raise PipelineError(f"systemd does not run here. For cron, add with crontab -e:\n{plan.cron_line()}")
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        _check_owner(folder / file, plan)
    for place in plan.folders:
        place.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text, "utf-8")
        click.echo(f"Wrote {folder / file}")
    if manage:
        _systemctl("daemon-reload")
        _systemctl("enable", "--now", list(files)[-1])
        click.echo(f"Running. See: {' '.join(_manager())} list-timers; journalctl -u {next(iter(files))}")
        if not plan.system:
            click.echo("To have it run while you are logged out: loginctl enable-linger")


def _check_owner(path: Path, plan: Schedule) -> None:
    if not path.exists() or path.suffix == ".timer":
        return
    ours = f"WorkingDirectory={str(plan.root).replace('%', '%%')}"
    if ours not in path.read_text("utf-8").splitlines():
        raise SettingsError(f"{path} belongs to another project; choose another --name.")


def _remove(folder: Path, name: str, *, manage: bool) -> None:
    found = [path for kind in ("timer", "service") if (path := folder / f"{name}.{kind}").exists()]
    if not found:
        click.echo(f"There is nothing to remove: no {name}.timer or {name}.service in {folder}.")
        return
    for path in found:
        if manage and Path("/run/systemd/system").is_dir():
            _systemctl("disable", "--now", path.name)
        path.unlink()
        click.echo(f"Removed {path}")
    if manage and Path("/run/systemd/system").is_dir():
        _systemctl("daemon-reload")


def _manager() -> list[str]:
    return ["systemctl"] if os.geteuid() == 0 else ["systemctl", "--user"]


def _systemctl(*words: str) -> None:
    if shutil.which("systemctl") is None:
        raise PipelineError("systemctl is not there; install systemd, or use the cron line.")
    done = subprocess.run([*_manager(), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PipelineError(f"systemctl {' '.join(words)} failed: {done.stderr.strip()}")
