"""What the API is told, by the environment alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args, get_type_hints

from pipeline.errors import SettingsError
from pipeline.settings import Limits

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Everything the API is told; sizes in bytes, times in seconds.

    Each field is the environment variable of its name in capitals after `IMAGE_API_`, but for
    `database_url`, which is `DATABASE_URL`, and the folders, which are the pipeline's.
    """

    database_url: str | None = None
    data: Path = Path(".data")
    extracted: Path = Path("extracted")
    static: Path = Path("static")
    token: str | None = field(default=None, repr=False)
    private: bool = False
    allowed_networks: tuple[Network, ...] = ()
    allowed_ports: tuple[int, ...] = (80, 443)
    max_fetch_bytes: int = 64 << 20
    max_redirects: int = 10
    fetch_timeout: float = 30.0
    max_fetches: int = 32
    max_body_bytes: int = 256 << 20
    max_parts: int = 1000
    max_uploads: int = 8
    decoders: int = 0
    max_decodes: int = 64
    database_connections: int = 10
    max_pixels: int = Limits().max_pixels
    timeout: float = 30.0

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
        return tuple(read(part.strip()) for part in text.split(",") if part.strip())
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
    if number < 0:
        raise ValueError("it must not be negative")
    return number
