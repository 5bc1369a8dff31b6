"""Images as the API shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from pipeline.catalog.listing import ImageRow


class Source(BaseModel):
    """Where an image came from: a member of an archive, or a URL."""

    archive: str | None = None
    member_index: int | None = None
    member_name: str | None = None
    url: str | None = None
    verdict: str
    added_at: datetime


class ImageRecord(BaseModel):
    """What the catalog knows of an image."""

    sha256: str = Field(description="SHA-256 of the file in hex: what the image is known by.")
    sha1: str = Field(description="SHA-1 of the file in hex.")
    type: str = Field(description="What the content is, whatever its name said.", examples=["jpeg"])
    width: int = Field(description="Pixels as stored, before `orientation`.")
    height: int = Field(description="Pixels as stored, before `orientation`.")
    byte_size: int
    mode: str = Field(description="Pillow's name of the pixel format.", examples=["RGB"])
    frames: int
    orientation: int | None = Field(description="EXIF orientation, 1 to 8.")
    captured_at: str | None = Field(
        description="When it was taken, as the camera wrote it, without a zone.",
        examples=["2026-05-17T09:30:00"],
    )
    captured_offset: str | None = Field(description="The UTC offset of `captured_at`, where known.")
    dhash: str | None = Field(description="64-bit difference hash in hex: near for pictures that look alike.")
    remarks: list[str] = Field(description="Harmless oddities of the file.")
    url: list[str] = Field(description="The URLs it came from, the oldest first.")
    local_url: str = Field(description="The path under which this server serves the file.")
    thumbnail_url: str = Field(description="The path of a small picture of it.")
    sources: list[Source] = Field(description="Where it came from, the oldest 50.")
    created_at: datetime

    @classmethod
    def of(cls, row: ImageRow) -> ImageRecord:
        """Make the record of a row."""
        sha256 = row.sha256.hex()
        sources = [Source(**source) for source in row.sources]
        return cls(
            **{name: value for name, value in row._asdict().items() if name in _AS_THEY_ARE},
            sha256=sha256,
            sha1=row.sha1.hex(),
            captured_at=row.captured_at.isoformat() if row.captured_at else None,
            dhash=None if row.dhash is None else f"{row.dhash & (1 << 64) - 1:016x}",
            url=[source.url for source in sources if source.url is not None],
            thumbnail_url=f"/images/{sha256}/thumbnail",
            sources=sources,
        )


_MADE = {"sha256", "sha1", "captured_at", "dhash", "sources"}
_AS_THEY_ARE = ImageRecord.model_fields.keys() & set(ImageRow._fields) - _MADE
