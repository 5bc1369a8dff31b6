"""Archives: judged by their directory, read within bounds, their names made safe."""

from pipeline.archives.magic import is_archive
from pipeline.archives.names import folder_name
from pipeline.archives.preflight import ZipArchive
from pipeline.archives.reader import MemberReader

__all__ = ["MemberReader", "ZipArchive", "folder_name", "is_archive"]
