"""What the API is told, by the environment alone."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, get_args, get_type_hints

from pipeline.database import parameters
from pipeline.errors import SettingsError
from pipeline.settings import Limits

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Everything the API is told; sizes in bytes, times in seconds.

    Each field is the environment variable of its name in capitals after `IMAGE_API_`, but for
    `database_url`, which is `DATABASE_URL`, and the folders, which are the pipeline's.
    """

    database_url: Annotated[str | None, "Postgres to use instead of the embedded one."] = None
    data: Annotated[Path, "Folder of the embedded Postgres."] = Path(".data")
    extracted: Annotated[Path, "Folder the pipeline extracts images to."] = Path("extracted")
    static: Annotated[Path, "Folder of the store, served below /static."] = Path("static")
    token: Annotated[str | None, "The token that writing takes; without one only this machine writes."] = (
        field(default=None, repr=False)
    )
    private: Annotated[
        bool, "1: reading takes the token as well; without a token, only this machine reads."
    ] = False
    allowed_networks: Annotated[
        tuple[Network, ...], "Private networks that URLs may lead to, such as 10.1.0.0/16."
    ] = ()
    allowed_ports: Annotated[tuple[int, ...], "Ports that URLs may name."] = (80, 443)
    max_fetch_bytes: Annotated[int, "Bytes a fetched image may have."] = 64 << 20
    max_redirects: Annotated[int, "Redirects that a fetch follows."] = 10
    fetch_timeout: Annotated[float, "Seconds a fetch may take, from its start to its end."] = 30.0
    max_fetches: Annotated[int, "Fetches at once; beyond, the answer is 503 with Retry-After."] = 32
    max_body_bytes: Annotated[int, "Bytes a request's body may have."] = 256 << 20
    max_parts: Annotated[int, "Files a batch may have."] = 1000
    max_uploads: Annotated[int, "Batches received at once; beyond, the answer is 503 with Retry-After."] = 8
    decoders: Annotated[int, "Worker processes that decode; 0 means one per core."] = 0
    max_decodes: Annotated[
        int, "Requests that may wait for a decoder; beyond, the answer is 503 with Retry-After."
    ] = 64
    database_connections: Annotated[int, "Connections to Postgres, at most."] = 10
    max_pixels: Annotated[int, "Most pixels in an image."] = Limits().max_pixels
    timeout: Annotated[float, "Seconds one image may take."] = 30.0

    @property
    def limits(self) -> Limits:
        """The limits that inspection keeps."""
        return replace(
            Limits(), max_member_bytes=self.max_body_bytes, max_pixels=self.max_pixels, timeout=self.timeout
        )

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> ApiSettings:
        """Read the environment; raises `SettingsError` for a value that makes no sense, naming its variable."""
        found: dict[str, object] = {}
        for name, kind in get_type_hints(cls).items():
            variable = variable_of(name)
            if text := environ.get(variable, "").strip():
                try:
                    found[name] = _read(kind, text)
                except ValueError as error:
                    raise SettingsError(f"{variable}={text!r} makes no sense: {error}.") from error
        if url := found.get("database_url"):
            parameters(str(url))
        return cls(**found)  # type: ignore[arg-type]  # each value was read by its field's type


def variable_of(name: str) -> str:
    """Give the environment variable of a setting."""
    if name == "database_url":
        return "DATABASE_URL"
    if name in {"data", "extracted", "static"}:
        return f"PIPELINE_{name.upper()}"
    return f"IMAGE_API_{name.upper()}"


def _read(kind: object, text: str) -> object:
    arguments = get_args(kind)
    if arguments and arguments[-1] is Ellipsis:
        read = _port if arguments[0] is int else ipaddress.ip_network
        if found := tuple(read(part.strip()) for part in text.split(",") if part.strip()):
            return found
        raise ValueError("it names nothing")
    if kind is bool:
        return _truth(text)
    if kind in {int, float}:
        return _amount(float(text) if kind is float else int(text))
    return Path(text) if kind is Path else text


def _truth(text: str) -> bool:
    if text.lower() in {"1", "true", "yes", "on"}:
        return True
    if text.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("write 1 or 0")


def _port(text: str) -> int:
    if not 0 < (port := int(text)) < 65536:
        raise ValueError("ports are 1 to 65535")
    return port


def _amount(number: float) -> float:
    if not 0 <= number < math.inf:
        raise ValueError("it must not be negative, nor endless")
    return number
