"""Names of members: decoding them, and turning them into paths that are safe on every file system."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zlib
from functools import lru_cache
from typing import Final

UTF8_FLAG = 0x800
UNICODE_PATH = 0x7075
COMPONENT_BYTES = 150
PATH_BYTES = 600
DEPTH = 24
DOS_MADE = frozenset({0, 6, 10, 11, 14})
"""Systems whose archivers may write backslashes between folders (APPNOTE 4.4.2.2): DOS, OS/2, NTFS, VFAT."""

_COMPONENT = r"(?:[A-Za-z0-9_][A-Za-z0-9_ .()+,=@-]{0,120}[A-Za-z0-9_)]|[A-Za-z0-9_])"
_PLAIN = re.compile(_COMPONENT)
_PLAIN_PATH = re.compile(f"(?:{_COMPONENT}/)*{_COMPONENT}")
_FORBIDDEN = re.compile(r'[<>:"|?*\\/]')
_NUMBERED = re.compile(r"~[0-9]+$")
_DRIVE = re.compile(r"[A-Za-z]:(?:[/\\]|(?:.*[/\\])?\.\.(?:[/\\]|$))", re.DOTALL)
"""A drive whose root is meant, or a way up from where it stands; `a:b.png` is a name like any other."""
_RESERVED: Final = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}
    | {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
)
_LITTER: Final = frozenset(
    {".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db", "ehthumbs_vista.db", ".picasa.ini", "picasa.ini"}
    | {".localized", ".spotlight-v100", ".trashes", ".fseventsd", "icon\r"}
)


_SPECIAL = re.compile(
    r"__macosx/|(?:.*/)?(?:(?:con|prn|aux|nul|com\d|lpt\d)(?:[./]|$)"
    r"|(?:thumbs\.db|desktop\.ini|ehthumbs\.db|ehthumbs_vista\.db|picasa\.ini)$)",
    re.IGNORECASE,
)


class NameRefused(ValueError):
    """A name is refused; `reason` says why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def decode(raw: bytes, flags: int, extra: bytes, encoding: str | None) -> str:
    """Decode a member's name by its UTF-8 flag, the Info-ZIP Unicode Path field, `encoding`, or cp437.

    APPNOTE 4.4.4 (bit 11), 4.6.9 and appendix D. Raises `NameRefused` with `bad-encoding`.
    """
    try:
        if flags & UTF8_FLAG:
            return raw.decode("utf-8")
        if extra and (unicode_path := _unicode_path(raw, extra)) is not None:
            return unicode_path.decode("utf-8")
        return raw.decode(encoding or "cp437")
    except UnicodeDecodeError as error:
        raise NameRefused("bad-encoding", f"byte {error.start} is not valid {error.encoding}") from error
    except UnicodeError as error:
        raise NameRefused("bad-encoding", f"it is not valid {encoding}") from error


def _unicode_path(raw: bytes, extra: bytes) -> bytes | None:
    position = 0
    while position + 4 <= len(extra):
        kind = int.from_bytes(extra[position : position + 2], "little")
        size = int.from_bytes(extra[position + 2 : position + 4], "little")
        field = extra[position + 4 : position + 4 + size]
        position += 4 + size
        if kind == UNICODE_PATH and len(field) == size > 5 and field[0] == 1:
            if int.from_bytes(field[1:5], "little") == zlib.crc32(raw):
                return field[5:]
            return None
    return None


def readable(raw: bytes) -> str:
    """Give a name that cannot be decoded, its odd bytes escaped, fit for a database and a terminal."""
    return raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def is_simple(name: str) -> bool:
    """Tell names, most of them, that are their own safe path: no litter, nothing to change, nothing to refuse."""
    return len(name) * 4 <= PATH_BYTES and bool(_PLAIN_PATH.fullmatch(name)) and not _SPECIAL.match(name)


def parts(name: str, system: int) -> list[str]:
    """Split a name into the folders and the file it means; raises `NameRefused` for what leads elsewhere."""
    if "\0" in name:
        raise NameRefused("bad-name", "it holds a NUL")
    if not name:
        raise NameRefused("bad-name", "it is empty")
    if name[0] in "/\\":
        raise NameRefused("absolute-path", "it begins at the root or at a host")
    if _DRIVE.match(name):
        raise NameRefused("absolute-path", "it begins with a drive")
    if ".." in name and ".." in name.replace("\\", "/").split("/"):
        raise NameRefused("path-escape", "it climbs out with '..'")
    if "\\" in name and system in DOS_MADE and "/" not in name:
        name = name.replace("\\", "/")
    found = [part for part in name.split("/") if part not in {"", "."}]
    if not found or found[-1].strip(". ") == "":
        raise NameRefused("bad-name", "it names no file")
    return found


def is_litter(components: list[str]) -> bool:
    """Tell files that operating systems leave behind by their names."""
    last = components[-1]
    return components[0] == "__MACOSX" or last.startswith("._") or last.lower() in _LITTER


def safe_path(components: list[str]) -> str:
    """Give the relative POSIX path of a member: safe on Linux, macOS and Windows, not yet free of collisions."""
    folders = tuple(components[:-1])
    path = (_safe_folders(folders) if folders else "") + _safe_component(components[-1])
    if len(path) * 4 > PATH_BYTES and (len(path.encode()) > PATH_BYTES or len(components) > DEPTH):
        digest = hashlib.sha256("/".join(components).encode("utf-8", "surrogatepass")).hexdigest()
        path = f"long/{digest[:32]}-{_shortened(_safe_component(components[-1]), 80)}"
    return path


def collision_key(path: str) -> str:
    """Give what is equal for paths that some file system takes for the same."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def numbered(path: str) -> bool:
    """Tell whether a path could be mistaken for one that `with_index` made."""
    return bool(_NUMBERED.search(_stem(path)[0]))


def with_index(path: str, index: int) -> str:
    """Set a member apart by its index, before the extension."""
    stem, suffix = _stem(path)
    return f"{stem}~{index}{suffix}"


def folder_name(archive_name: str, digest: bytes) -> str:
    """Give the folder of an archive below the extracted tree: its stem, made safe, and 12 digits of its digest."""
    last = archive_name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    stem = last.rsplit(".", 1)[0] or last
    return f"{_shortened(_safe_component(stem or '_'), 100)}-{digest.hex()[:12]}"


def _stem(path: str) -> tuple[str, str]:
    cut = path.rfind(".")
    if cut > path.rfind("/") + 1:
        return path[:cut], path[cut:]
    return path, ""


@lru_cache(maxsize=4096)
def _safe_folders(folders: tuple[str, ...]) -> str:
    safe = []
    for folder in folders:
        component = _safe_component(folder)
        # A folder must never have the name of a file that was set apart by its index.
        stem, suffix = _stem(component)
        safe.append(f"{stem}_{suffix}" if numbered(component) else component)
    return "/".join(safe) + "/"


def _safe_component(component: str) -> str:
    if _PLAIN.fullmatch(component) and component.split(".", 1)[0].lower() not in _RESERVED:
        return component
    text = unicodedata.normalize("NFC", component)
    text = "".join("_" if _invisible(char) else char for char in text)
    text = _FORBIDDEN.sub("_", text)
    if text.startswith("."):
        text = "_" + text[1:]
    stripped = text.rstrip(". ")
    text = stripped + "_" * (len(text) > len(stripped))
    if text.split(".", 1)[0].rstrip(" ").lower() in _RESERVED:
        text = "_" + text
    return _shortened(text or "_", COMPONENT_BYTES)


def _invisible(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _shortened(component: str, limit: int) -> str:
    data = component.encode()
    if len(data) <= limit:
        return component
    stem, suffix = _stem(component)
    if len(suffix.encode()) > 12:
        stem, suffix = component, ""
    mark = "-" + hashlib.sha256(data).hexdigest()[:12] + suffix
    return stem.encode()[: limit - len(mark.encode())].decode("utf-8", "ignore").rstrip(". ") + mark
