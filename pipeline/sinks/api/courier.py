"""Bringing batches to the API: what it knows already is not sent, what it did not answer is sent again.

Batches are on their way side by side, yet which of two equal images is `stored` must not depend on which batch
arrives first. So a record whose image is on its way in an earlier batch waits until that one is acknowledged.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import SinkError, SinkUnavailable
from pipeline.records import Outcome, Record, Verdict
from pipeline.sinks.api.account import Account
from pipeline.sinks.api.body import Body, Part
from pipeline.sinks.api.client import Client, Passing, Refused
from pipeline.sinks.api.window import Window

HEAD_BYTES = 300
"""What the head of a part may take, at most."""
GROUP = 10_000
"""Items in one request, at most, whatever the API's bounds are."""
TRIES = 5
"""How often bytes are sent that the API asks for; it may lose them again when images are deleted."""
ITEM_BYTES = 1024
"""What an item of the manifest may take, with a margin; a longer name counts as it is."""
UNDELIVERED = "not-delivered"
TAKEN = frozenset({Verdict.STORED, Verdict.DUPLICATE})
SPLIT = frozenset({400, 413, 422})
"""Refusals that may be due to one item."""


@dataclass(slots=True)
class Bounds:
    """What the API says that one request may hold."""

    parts: int = 1000
    bytes: int = 64 << 20


@dataclass(eq=False, slots=True)
class Parcel:
    """A batch on its way: its images, the earlier parcels that have some of them too, and its archives."""

    records: Sequence[Record]
    behind: dict[bytes, Parcel] = field(default_factory=dict)
    delivered: asyncio.Event = field(default_factory=asyncio.Event)
    archives: frozenset[int] = frozenset()

    @property
    def images(self) -> Iterator[bytes]:
        """The digests of its images."""
        return (record.outcome.image.sha256 for record in self.records if record.outcome.image)


class Courier:
    """Delivers parcels; one event loop uses it. What the API refuses is gathered in `refused`."""

    def __init__(self, run: str, client: Client, window: Window, root: Path) -> None:
        self.bounds = Bounds()
        self.refused: deque[Record] = deque()
        self.account = Account()
        self._run = run
        self._client = client
        self._window = window
        self._root = root
        self._flying: dict[bytes, Parcel] = {}
        self._parcels: dict[Parcel, None] = {}

    def accept(self, records: Sequence[Record]) -> Parcel:
        """Take a batch; the order in which batches are accepted is the order that counts."""
        parcel = Parcel(records, archives=frozenset(record.archive_id for record in records))
        for sha256 in parcel.images:
            earlier = self._flying.get(sha256)
            if earlier is not None and earlier is not parcel:
                parcel.behind[sha256] = earlier
            self._flying[sha256] = parcel
        self._parcels[parcel] = None
        return parcel

    async def deliver(self, parcel: Parcel) -> None:
        """Bring a parcel to the API, until every record of it is acknowledged."""
        digests = list(parcel.images)
        known = await self._client.persist(lambda: self._check(digests))
        now: list[Record] = []
        later: list[Record] = []
        for record in parcel.records:
            image = record.outcome.image
            waits = image is not None and image.sha256 in parcel.behind and image.sha256 not in known
            (later if waits else now).append(record)
        await self._send_all(now, known)
        if later:
            for earlier in {id(parcel): parcel for parcel in parcel.behind.values()}.values():
                await earlier.delivered.wait()
            await self._send_all(later, None)
        self._settle(parcel)

    def _settle(self, parcel: Parcel) -> None:
        for sha256 in parcel.images:
            if self._flying.get(sha256) is parcel:
                del self._flying[sha256]
        del self._parcels[parcel]
        parcel.delivered.set()

    async def delivered(self, archives: Collection[int]) -> None:
        """Wait until everything that was accepted of some archives is acknowledged."""
        asked = set(archives)
        for parcel in list(self._parcels):
            if parcel.archives & asked:
                await parcel.delivered.wait()

    async def _check(self, digests: Collection[bytes]) -> set[bytes]:
        """Tell which images the API has, so that their bytes need not be sent."""
        unique = list(dict.fromkeys(sha256.hex() for sha256 in digests))
        known: set[bytes] = set()
        for place in range(0, len(unique), GROUP):
            asked = {"sha256": unique[place : place + GROUP]}
            answer = await self._client.once("POST", "/images/check", asked)
            known |= {bytes.fromhex(text) for text in answer["known"]}
        return known

    async def _send_all(self, records: Sequence[Record], known: set[bytes] | None) -> None:
        """Send records in order, in as many requests as the API's bounds make of them."""
        for group in self._groups(records):
            await self._send(group, known)

    def _groups(self, records: Sequence[Record]) -> Iterator[list[Record]]:
        group: list[Record] = []
        size, images = 0, set[bytes]()
        for record in records:
            image = record.outcome.image
            more = ITEM_BYTES + 6 * (len(record.outcome.name) + len(record.outcome.detail))
            if image and image.sha256 not in images:
                more += image.byte_size + HEAD_BYTES
            full = size + more > self.bounds.bytes or len(images) + 1 > self.bounds.parts
            if group and (full or len(group) >= GROUP):
                yield group
                group, size, images = [], 0, set()
            group.append(record)
            size += more
            if image:
                images.add(image.sha256)
        if group:
            yield group

    async def _send(self, group: list[Record], known: set[bytes] | None) -> None:
        """Send a group until each record is acknowledged; one that the API will not take alone is noted as failed."""
        told = known
        needed = group

        async def attempt() -> list[Record]:
            nonlocal told
            if told is None:
                told = await self._check([r.outcome.image.sha256 for r in needed if r.outcome.image])
            have, told = told, None
            return await self._post(needed, have)

        try:
            for _ in range(TRIES):
                if not needed:
                    return
                needed = await self._client.persist(attempt)
        except Refused as refusal:
            if refusal.status not in SPLIT:
                raise
            await self._split(needed, refusal)
            return
        if needed:
            raise SinkUnavailable("The Image API asks for the same bytes again and again; run again later.")

    async def _split(self, group: list[Record], refusal: Refused) -> None:
        """Send a group that was refused in halves, until the guilty record is alone."""
        if len(group) > 1:
            middle = len(group) // 2
            await self._send(group[:middle], None)
            await self._send(group[middle:], None)
        elif group[0].outcome.image:
            await self._send([_undelivered(group[0], refusal.detail)], None)
        else:
            raise SinkError(str(refusal)) from refusal

    async def _post(self, group: Sequence[Record], known: set[bytes]) -> list[Record]:
        """Send a group once; answers the records whose bytes the API needs after all."""
        records, parts = self._pack(group, known)
        body = Body(self._run, records, parts)
        async with self._window.turn():
            answer = await self._client.once(
                "POST", "/images/batch", content=body.stream(), headers=body.headers
            )
        return self._acknowledge(group, records, answer["items"])

    def _pack(self, group: Sequence[Record], known: set[bytes]) -> tuple[list[Record], list[Part]]:
        """Give a group's records, failed where the file is not as it was, and the parts that carry its images."""
        records: list[Record] = []
        parts: dict[bytes, Part] = {}
        for record in group:
            image = record.outcome.image
            if image and image.sha256 not in known and image.sha256 not in parts:
                path = self._root / record.file
                if _size(path) == image.byte_size:
                    parts[image.sha256] = Part(image.sha256, path, image.byte_size)
                else:
                    records.append(_undelivered(record, f"its file {record.file} was changed or removed"))
                    continue
            records.append(record)
        return records, list(parts.values())

    def _acknowledge(
        self, group: Sequence[Record], sent: Sequence[Record], answers: Sequence[dict[str, Any]]
    ) -> list[Record]:
        if len(answers) != len(sent):
            raise Passing("the answer does not fit the batch")
        needed: list[Record] = []
        for record, as_sent, answer in zip(group, sent, answers, strict=True):
            if answer["verdict"] is None:
                needed.append(record)
                continue
            verdict = Verdict(answer["verdict"])
            outcome = record.outcome
            self.account.note(record.archive_id, outcome.index, verdict)
            if verdict not in TAKEN and (outcome.image or outcome.reason == UNDELIVERED):
                reason = answer["reason"] or as_sent.outcome.reason
                detail = answer["detail"] or as_sent.outcome.detail
                refused = Outcome(outcome.index, outcome.name, None, verdict, reason, detail)
                self.refused.append(record._replace(outcome=refused))
        return needed


def _undelivered(record: Record, detail: str) -> Record:
    outcome = record.outcome
    failed = Outcome(outcome.index, outcome.name, None, Verdict.FAILED, UNDELIVERED, detail)
    return record._replace(outcome=failed)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
