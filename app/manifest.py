"""What a batch's manifest says, and what it is answered."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, Strict, ValidationError, model_validator

from app.messages import BIG, Digest, Reason, Text, Whole
from app.problems import ProblemError
from pipeline.records import Verdict

MAX_ITEMS = 100_000
MAX_VALUES = 16 * MAX_ITEMS
"""More than the fields of that many items: values cost far more memory than the text that they are read from."""


class Item(BaseModel):
    """One member: an image by its digest, or a verdict with its reason.

    The bytes of an image are `sent` as a part of the request that is named by the digest, once however many
    items have it, or they are known to the server.
    """

    archive: Whole = Field(ge=0, le=BIG)
    index: Whole = Field(ge=0, lt=1 << 31)
    name: Text
    sha256: Digest | None = None
    sent: Annotated[bool, Strict()] = False
    verdict: Literal["rejected", "ignored", "failed"] | None = None
    reason: Reason | Literal[""] = ""
    detail: Text = ""

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.sha256 is None) == (self.verdict is None):
            raise ValueError("an item has either a sha256 or a verdict")
        if self.verdict and not self.reason:
            raise ValueError("a verdict has a reason")
        if self.sent and self.sha256 is None:
            raise ValueError("what is sent has a sha256")
        return self


class Manifest(BaseModel):
    """The first part of a batch: the run it belongs to, and its items."""

    run: UUID
    items: Annotated[list[Item], Field(max_length=MAX_ITEMS)]

    @classmethod
    def read(cls, text: bytes | bytearray) -> Self:
        """Read a manifest; raises the 413 or the 422 that says what is wrong."""
        if text.count(b",") > MAX_VALUES:
            raise ProblemError(413, "too-large", f"The manifest may have {MAX_VALUES:,} values.")
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ProblemError(422, "bad-manifest", f"manifest: {place}: {first['msg']}") from error


class Answer(BaseModel):
    """What became of one item; without a verdict its bytes are needed, and nothing was recorded of it."""

    verdict: Verdict | None
    reason: str = ""
    detail: str = ""


class Answers(BaseModel):
    """What became of the items of a batch, in their order."""

    items: list[Answer]


class Check(BaseModel):
    """Digests that a sender has the bytes of."""

    sha256: Annotated[list[Digest], Field(max_length=MAX_ITEMS)]


class Known(BaseModel):
    """Those of the digests whose bytes need not be sent."""

    known: list[str]
