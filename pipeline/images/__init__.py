"""Images: what they are, whether they are whole, and what they say of themselves."""

from pipeline.images.inspection import CHECKS, inspect, inspect_file
from pipeline.images.kinds import extension, extension_remark, media_type

__all__ = ["CHECKS", "extension", "extension_remark", "inspect", "inspect_file", "media_type"]
