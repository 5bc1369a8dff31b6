"""A check on images that crashes, hangs or eats memory, for workers only; what it does depends on the width."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import NoReturn

from PIL import Image as Pillow

from bench.sample import encoded
from pipeline.images import CHECKS
from pipeline.images.inspection import Seen
from pipeline.images.source import Source
from pipeline.settings import Limits
from pipeline.workbench import Workbench

GOOD, SEGFAULT, ABORT, EXIT, KILL, LOOP, SLEEP, EAT, EAT_IN_C, NOISE, BUS = range(10, 21)


def victim(what: int, shade: int = 0) -> bytes:
    """Give a picture that has the armed check do something."""
    return encoded(Pillow.new("RGB", (what, 10), (shade % 256, shade // 256, 0)), "BMP")


def _misbehave(source: Source, image: Pillow.Image) -> Seen:
    match image.width:
        case 11:
            os.kill(os.getpid(), signal.SIGSEGV)
        case 12:
            ctypes.CDLL(None).abort()
        case 13:
            os._exit(3)
        case 14:
            os.kill(os.getpid(), signal.SIGKILL)
        case 15:
            _loop()
        case 16:
            # Without giving up Python's lock, as a decoder that hangs in C does.
            ctypes.PyDLL(None).sleep(7200)
        case 17:
            eaten = [bytearray(16 << 20) for _ in range(1000)]
            time.sleep(len(eaten))
        case 18:
            _eat_in_c()
        case 19:
            os.write(1, b"noise on standard output\n")
            os.write(2, b"noise on standard error\n")
        case 20:
            os.kill(os.getpid(), signal.SIGBUS)
    return Seen(1, None)


def _loop() -> NoReturn:
    while True:
        pass


def _eat_in_c() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    size = 16 << 20
    for _ in range(1000):
        place = library.malloc(ctypes.c_size_t(size))
        if not place:
            library.abort()
        ctypes.memset(place, 1, size)


def _arm(*parts: object) -> Workbench:
    CHECKS["bmp"] = _misbehave
    *places, quarantine = parts
    return Workbench(*places, quarantine=quarantine)  # type: ignore[arg-type, misc]


class SabotagedBench(Workbench):
    """A workbench that arms the check in every process that it is sent to."""

    def __reduce__(self) -> tuple[object, ...]:
        return _arm, (self.extracted, self.static, self.limits, self.quarantine)


def sabotaged(bench: Workbench, limits: Limits) -> Workbench:
    """Give a workbench like this one, with other limits, that arms workers."""
    return SabotagedBench(bench.extracted, bench.static, limits, quarantine=bench.quarantine)
