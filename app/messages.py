"""What the pipeline and the API tell each other about archives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, Strict

from pipeline.catalog.claims import Claimant
from pipeline.records import (
    Archive,
    ArchiveResult,
    ArchiveVerdict,
    Balance,
    Entry,
    FileIdentity,
    Recorded,
    State,
    Verdict,
    clean,
)

MAX_ARCHIVES = 1000
MAX_NAME = 70_000
BIG = (1 << 63) - 1


def _storable(text: object) -> object:
    """Escape what a text column does not take; anything but a text is left for the model to refuse."""
    return clean(text) if isinstance(text, str) else text


def _time(nanoseconds: int) -> int:
    """Check bounds here, because the document's numbers are floats and less exact."""
    if abs(nanoseconds) >= 1 << 70:
        raise ValueError("it is not a time")
    return nanoseconds


def _unsigned(number: int) -> int:
    if not 0 <= number < 1 << 64:
        raise ValueError("it has more than 64 bits")
    return number


Whole = Annotated[int, Strict()]
"""A number, and nothing that could be taken for one, as `true`."""
Text = Annotated[str, BeforeValidator(_storable), Field(max_length=MAX_NAME)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 in hex.")]
ArchiveDigest = Annotated[
    str, Field(pattern="^([0-9a-f]{2}){1,64}$", description="The archive's digest in hex.")
]
Reason = Annotated[str, Field(pattern="^[a-z0-9-]{1,60}$", examples=["truncated"])]
Count = Annotated[Whole, Field(ge=0, le=BIG)]
Ids = Annotated[list[Count], Field(max_length=MAX_ARCHIVES)]


class File(BaseModel):
    """What tells one delivered file from another without reading it."""

    name: Text
    size: Whole = Field(ge=0, le=BIG)
    mtime_ns: Annotated[Whole, AfterValidator(_time)]
    inode: Annotated[Whole, AfterValidator(_unsigned)]

    @property
    def identity(self) -> FileIdentity:
        """The same, as the core has it."""
        return FileIdentity(self.name, self.size, self.mtime_ns, self.inode)


class Run(BaseModel):
    """Who claims: a run by its id, and where it runs, so that a later one there can see that it died."""

    run: UUID
    host: Annotated[str, BeforeValidator(_storable), Field(max_length=500)] = ""
    process: Annotated[str, BeforeValidator(_storable), Field(max_length=500)] = ""

    @classmethod
    def of(cls, claimant: Claimant) -> Self:
        """Make the message of a claimant."""
        return cls(run=claimant.run, host=claimant.host, process=claimant.process)

    @property
    def claimant(self) -> Claimant:
        """The same, as the core has it."""
        return Claimant(self.run, self.host, self.process)


class NewArchive(BaseModel):
    """An archive that passed preflight."""

    digest: ArchiveDigest
    file: File
    folder: Text
    members: Whole = Field(ge=0, lt=1 << 31)

    @property
    def archive(self) -> Archive:
        """The same, as the core has it."""
        digest = bytes.fromhex(self.digest)
        return Archive(Path(self.file.name), self.file.identity, digest, self.folder, self.members)


class Opening(Run):
    """A request to register and claim archives; `dead` are runs of this host whose process is gone."""

    archives: Annotated[list[NewArchive], Field(max_length=MAX_ARCHIVES)]
    dead: Annotated[list[UUID], Field(max_length=MAX_ARCHIVES)] = []


class OpenedArchive(BaseModel):
    """The ledger's answer for one archive; with state `busy`, by which run, where that is known."""

    id: int
    state: State
    folder: str
    by: Run | None = None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Make the message of a ledger entry."""
        return cls(id=entry.id, state=entry.state, folder=entry.folder)


class Bounds(BaseModel):
    """What one request to `POST /images/batch` may hold."""

    parts: int
    bytes: int


class Opened(BaseModel):
    """The entries of the archives asked for, in their order, and what a batch may hold."""

    entries: list[OpenedArchive]
    bounds: Bounds


class RecordedMember(BaseModel):
    """One member that the ledger has: its image, or its verdict and reason."""

    index: int
    sha256: str
    type: str
    verdict: Verdict
    reason: str

    @classmethod
    def of(cls, recorded: Recorded) -> Self:
        """Make the message of a recorded member."""
        return cls(**{**recorded._asdict(), "sha256": recorded.sha256.hex()})


class Page(BaseModel):
    """What is recorded of an archive after a member; `after` is where the next page begins, if there is one."""

    members: list[RecordedMember]
    after: int | None


class Sum(BaseModel):
    """A balance: it closes when the verdicts sum to the members."""

    members: Count
    stored: Count
    duplicate: Count
    rejected: Count
    ignored: Count
    failed: Count

    @classmethod
    def of(cls, balance: Balance) -> Self:
        """Make the message of a balance."""
        return cls(**{name: getattr(balance, name) for name in cls.model_fields})

    @property
    def balance(self) -> Balance:
        """The same, as the core has it."""
        return Balance(**self.model_dump())


class Refusal(BaseModel):
    """An archive that is refused whole, or failed."""

    digest: ArchiveDigest
    file: File
    verdict: ArchiveVerdict
    reason: Reason
    detail: Text = ""

    @property
    def result(self) -> ArchiveResult:
        """The same, as the core has it."""
        return ArchiveResult(self.file.name, self.verdict, self.reason, self.detail)
