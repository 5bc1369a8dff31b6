"""A program that fetches in a network of its own, where every address there is leads to one recording server.

Run as `unshare -rn python ssrf_world.py` with cases as JSON on standard input; prints what came of each as JSON.
There is no way out of that network, so connecting to a forbidden address is seen, not merely suspected.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from app.fetch import fetch
from app.problems import ProblemError
from app.settings import ApiSettings

BODY = b"not yet an image"


@dataclass
class World:
    """The server behind every address: it notes who was asked what, and redirects as the case says."""

    redirects: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    lookups: dict[str, int] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        address = writer.get_extra_info("sockname")[0]
        self.reached.append(address)
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.decode("latin-1"))
        if self.redirects:
            to = self.redirects.pop(0).encode()
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % to)
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY))
        await writer.drain()
        writer.close()

    def resolver(self, names: dict[str, list[list[str]]], real: Callable[..., Any]) -> Callable[..., Any]:
        """Make a resolver that gives the case's answers in turn, the last one for ever, and knows nothing else."""

        def getaddrinfo(host: str, port: int, *rest: Any, **more: Any) -> Any:
            if host not in names:
                return real(host, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
            turn = self.lookups.get(host, 0)
            self.lookups[host] = turn + 1
            answers = names[host][min(turn, len(names[host]) - 1)]
            if not answers:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [
                info
                for answer in answers
                for info in real(answer, port, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
            ]

        return getaddrinfo


def certificate(names: set[str], folder: Path) -> tuple[Path, Path]:
    """Make a certificate for these names that is its own authority."""
    alternatives = ",".join(f"DNS:{name}" for name in sorted(names))
    key, cert = folder / "key.pem", folder / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=world"]
    subprocess.run([*made, "-addext", f"subjectAltName={alternatives}"], check=True, capture_output=True)
    return key, cert


async def outcome(case: dict[str, Any], world: World, folder: Path) -> dict[str, Any]:
    """Fetch one URL and tell what happened."""
    names, redirects = case["dns"], list(case["redirect"])
    real = socket.getaddrinfo
    world.redirects, world.reached, world.asked, world.lookups = redirects, [], [], {}
    socket.getaddrinfo = world.resolver(names, real)
    target = folder / "target"
    found: dict[str, Any] = {"id": case["id"]}
    try:
        settings = ApiSettings.from_environ(case.get("environ", {}))
        fetched = await fetch(case["url"], target, settings)
        found |= {"ended": "fetched", "url": fetched.url, "whole": target.read_bytes() == BODY}
        target.unlink()
    except ProblemError as problem:
        found |= {"ended": problem.code, "status": problem.status_code, "detail": problem.detail}
        found["whole"] = not target.exists()
    finally:
        socket.getaddrinfo = real
    return found | {"reached": world.reached, "asked": world.asked, "lookups": world.lookups}


async def main(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run every case against one server on the two default ports of both families."""
    for command in (
        "link set lo up",
        "-4 route add local default dev lo",
        "-6 route add local default dev lo",
    ):
        subprocess.run(["ip", *command.split()], check=True)
    world = World()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = {n.encode("idna").decode() for c in cases for n in c["dns"] if n and "." in n and len(n) < 64}
        key, cert = certificate({n for n in names if not n.startswith("-")}, folder)
        os.environ["SSL_CERT_FILE"] = str(cert)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(cert, key)
        servers = [
            await asyncio.start_server(world.serve, host, port, ssl=tls if port == 443 else None)
            for host in ("0.0.0.0", "::")
            for port in (80, 443)
        ]
        found = [await outcome(case, world, folder) for case in cases]
        for server in servers:
            server.close()
    return found


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if "uvloop" in sys.argv else None) as runner:
        json.dump(runner.run(main(json.load(sys.stdin))), sys.stdout)
