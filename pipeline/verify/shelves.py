"""The first stage: every image of the catalog has its file in the store, with the content that was recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.catalog import inventory
from pipeline.catalog.inventory import Origin, Shelved
from pipeline.errors import StoreError
from pipeline.store import local_url, static_path
from pipeline.verify.files import MISSING, State, Wanted
from pipeline.verify.findings import Cursor, Finding, Kind, Outlook, Step
from pipeline.verify.tools import Tools

STAGE = "store"


def check_store(tools: Tools, after: str) -> Iterator[Step]:
    """Yield a step for each page of images, by ascending SHA-256; `after` is the last one that is done, in hex."""
    last = bytes.fromhex(after)
    while page := inventory.shelved(tools.connection, last):
        last = page[-1].sha256
        states = tools.hashers.look([Wanted(_place(tools, item), item.sha256) for item in page])
        bad = [(item, state) for item, state in zip(page, states, strict=True) if state.trouble]
        findings = [
            Finding(Kind.RECORD, item.local_url, f"it should be {local_url(item.sha256, item.type)}")
            for item in page
            if item.local_url != local_url(item.sha256, item.type)
        ]
        yield Step(len(page), findings + _judge(tools, bad), Cursor(STAGE, last.hex()))


def _place(tools: Tools, item: Shelved) -> str:
    return f"{tools.static}/{static_path(item.sha256, item.type)}"


def _judge(tools: Tools, bad: Sequence[tuple[Shelved, State]]) -> list[Finding]:
    """Look again at what seemed wrong: an image may have been deleted meanwhile. Then repair what can be."""
    if not bad:
        return []
    known = inventory.still_shelved(tools.connection, [item.sha256 for item, _ in bad])
    bad = [(item, state) for item, state in bad if item.sha256 in known]
    origins = inventory.origins(tools.connection, list(known)) if known and tools.rescue else []
    trouble, found = "", {}
    if tools.rescue and bad:
        try:
            found = tools.rescue.restore({item.sha256: item.type for item, _ in bad}, origins)
        except StoreError as error:
            trouble = str(error)
    return [_finding(tools, item, state, found.get(item.sha256), trouble, origins) for item, state in bad]


def _finding(  # noqa: PLR0913, PLR0917 - one for each thing that is told
    tools: Tools, item: Shelved, state: State, source: str | None, trouble: str, origins: Sequence[Origin]
) -> Finding:
    kind = Kind.STORE_MISSING if state.trouble == MISSING else Kind.STORE_DAMAGED
    path = _place(tools, item)
    if not tools.rescue:
        return Finding(kind, path, state.detail)
    if source:
        return Finding(kind, path, f"restored from {source}", Outlook.REPAIRED)
    return Finding(kind, path, trouble or _lament(tools, item.sha256, origins), Outlook.LOST)


def _lament(tools: Tools, sha256: bytes, origins: Sequence[Origin]) -> str:
    """Say what is lost, and how it could come back."""
    for origin in origins:
        if origin.sha256 == sha256:
            return (
                f"no copy is left of {origin.member_name} from {origin.archive}; "
                "put that archive into the input folder, or name it, and repair again"
            )
    if url := inventory.urls(tools.connection, [sha256]).get(sha256):
        return f"no copy is left of what came from {url}; add it again"
    return "no copy is left"
