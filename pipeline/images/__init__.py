"""Images: what they are, whether they are whole, and what they say of themselves.

The decoders are imported when something is inspected: who only names kinds of images starts quicker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.images.kinds import extension, extension_remark, media_type

if TYPE_CHECKING:
    from pipeline.images.inspection import CHECKS, inspect, inspect_file

__all__ = ["CHECKS", "extension", "extension_remark", "inspect", "inspect_file", "media_type"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(name)
    from pipeline.images import inspection  # noqa: PLC0415 - see above

    return getattr(inspection, name)
