"""Units for systemd and a line for cron that run the pipeline again and again, or all the time."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import SettingsError

ENVIRONMENT_FILE = "pipeline.env"
SOCKET_PATH_BYTES = 80
"""Data folders longer than this have the embedded Postgres put its socket into /tmp, which is then shared."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is to be run, where, as whom, and how often.

    `every` is in seconds, or None to watch all the time. `user` is empty for whoever installs, which for a
    system unit is root. `folders` are all that may be written.
    """

    root: Path
    python: Path
    arguments: tuple[str, ...]
    folders: tuple[Path, ...]
    data: Path
    every: float | None
    user: str = ""
    system: bool = True
    environ: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for text in (str(self.root), str(self.python), *self.arguments, *map(str, self.folders)):
            if any(ord(char) < 32 for char in text):
                raise SettingsError(f"{text!r} holds a control character, which no unit file can hold.")

    def units(self, name: str) -> dict[str, str]:
        """Give the text of every unit by its file name."""
        service = "\n".join((*self._about(), *self._service(), *self._hardening(), *self._confinement()))
        if self.every is None:
            target = "multi-user.target" if self.system else "default.target"
            return {f"{name}.service": f"{service}\n\n[Install]\nWantedBy={target}\n"}
        return {f"{name}.service": f"{service}\n", f"{name}.timer": _TIMER.format(every=round(self.every))}

    def cron_line(self) -> str:
        """Give a line for crontab(5), in which % has a meaning of its own."""
        words = [f"{key}={shlex.quote(value)}" for key, value in self.environ.items()]
        words += [shlex.quote(str(self.python)), *map(shlex.quote, self._words())]
        line = (
            f"cd {shlex.quote(str(self.root))} && mkdir -p .data && {' '.join(words)} >>.data/cron.log 2>&1"
        )
        return f"{'@reboot' if self.every is None else _cron_times(self.every)} {line.replace('%', chr(92) + '%')}"

    def _words(self) -> list[str]:
        return ["-m", "pipeline", "watch" if self.every is None else "ingest", *self.arguments]

    def _about(self) -> Iterator[str]:
        yield "[Unit]"
        yield "Description=Take zips of images into the catalog"
        if self.system:
            yield "Wants=network-online.target"
            yield "After=network-online.target postgresql.service"

    def _service(self) -> Iterator[str]:
        yield "\n[Service]"
        if self.every is None:
            yield "Type=exec\nRestart=on-failure\nRestartSec=30"
        else:
            yield "Type=oneshot"
        if self.user and self.system:
            yield f"User={self.user}"
        yield f"WorkingDirectory={_plain(self.root)}"
        yield "# What must stay secret, such as DATABASE_URL, belongs in this file (chmod 600)."
        yield f"EnvironmentFile=-{_plain(self.root / ENVIRONMENT_FILE)}"
        for key, value in self.environ.items():
            yield f"Environment={_quoted(f'{key}={value}')}"
        words = " ".join(_quoted(word).replace("$", "$$") for word in self._words())
        yield f"ExecStart={_quoted(str(self.python))} {words}"
        yield "# Time was up: the rest waits for the next run."
        yield "SuccessExitStatus=3"
        yield "# The embedded Postgres may serve other programs; the last one out stops it. Workers end with the run."
        yield "KillMode=process\nTimeoutStopSec=5min"
        yield "Nice=10\nIOSchedulingPriority=7\nUMask=0022"

    def _writable(self) -> list[Path]:
        """Give the mounts to write to: the project, and what lies elsewhere, by common parents where they are."""
        outside = [folder for folder in self.folders if self.root not in (folder, *folder.parents)]
        common = Path(os.path.commonpath(outside)) if outside else self.root
        return [self.root, *(outside if len(common.parts) < 3 else [common])] if outside else [self.root]

    def _hardening(self) -> Iterator[str]:
        """Give what needs no privileges: filters of system calls."""
        yield "\n# What it may do:"
        yield "NoNewPrivileges=yes\nLockPersonality=yes\nMemoryDenyWriteExecute=yes"
        yield "RestrictRealtime=yes\nRestrictSUIDSGID=yes\nRestrictNamespaces=yes"
        yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
        yield "SystemCallArchitectures=native\nSystemCallFilter=@system-service\nSystemCallErrorNumber=EPERM"

    def _confinement(self) -> Iterator[str]:
        """Give what only the system's manager can do: what is seen and written."""
        if not self.system:
            return
        yield "\n# What it may see and write:"
        yield "ProtectSystem=strict\nProtectHome=read-only"
        yield "# One mount holds all that is below the project, else files could not be linked or moved within it."
        yield "ReadWritePaths=" + " ".join(_quoted(str(folder)) for folder in self._writable())
        code = [f"-{self.root / name}" for name in (".venv", "pipeline", "app")]
        yield "ReadOnlyPaths=" + " ".join(_quoted(path) for path in code)
        private = len(str(self.data).encode()) <= SOCKET_PATH_BYTES
        yield f"PrivateTmp={'yes' if private else 'no'}\nPrivateDevices=yes\nProtectClock=yes\nProtectHostname=yes"
        yield "ProtectKernelTunables=yes\nProtectKernelModules=yes\nProtectKernelLogs=yes\nProtectControlGroups=yes"
        yield "RemoveIPC=no"
        if self.user:
            yield "ProtectProc=invisible\nCapabilityBoundingSet=\nAmbientCapabilities="
        else:
            yield "# Root's embedded Postgres runs as another user."
            yield "CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL CAP_SETGID CAP_SETUID"
            yield "StateDirectory=image-pipeline"


_TIMER = """\
[Unit]
Description=Take zips of images into the catalog, every now and then

[Timer]
OnActiveSec=10s
OnBootSec=2min
OnUnitInactiveSec={every}s
AccuracySec=5s

[Install]
WantedBy=timers.target
"""


def _plain(path: Path) -> str:
    return str(path).replace("%", "%%")


def _quoted(text: str) -> str:
    """Quote a word for a unit file: C-style escapes, and no specifiers (systemd.syntax(7))."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    plain = all(char.isalnum() or char in "/_.,:=@+-%" for char in escaped)
    return escaped if plain and escaped else f'"{escaped}"'


def _cron_times(seconds: float) -> str:
    """Give the schedule in cron's terms, rounded to what it can say, more often rather than more seldom."""
    minutes = max(1, int(seconds // 60))
    if minutes < 60:
        step = max(step for step in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30) if step <= minutes)
        return f"*/{step} * * * *" if step > 1 else "* * * * *"
    hours = max(step for step in (1, 2, 3, 4, 6, 8, 12, 24) if step <= minutes // 60)
    return {1: "0 * * * *", 24: "0 3 * * *"}.get(hours, f"0 */{hours} * * *")
