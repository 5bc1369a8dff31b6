"""One run of the program, and how it ended."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID, uuid4

from pipeline.records import ArchiveVerdict, Balance


class RunState(StrEnum):
    """How a run stands: `stopped` by a person or the system, `failed` by an error, `died` without a word."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    DIED = "died"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the program over deliveries, and who does it: a process on a host."""

    command: str
    sink: str
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: its archives by verdict, the balance over their members, and the seconds it took."""

    state: RunState
    exit_code: int
    archives: Mapping[ArchiveVerdict, int]
    balance: Balance
    message: str = ""
    seconds: float | None = None
