"""Kinds of images: telling them by their first bytes, and what each is called."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

HEAD = 64
"""Bytes that are enough to tell a kind."""
SUBFILE_TYPE, SUB_IFDS, DNG_VERSION = 0x00FE, 0x014A, 0xC612


class Kind(NamedTuple):
    """One kind of image: its file extension, media type, the decoder's format names, and the extra it needs."""

    extension: str
    media_type: str
    formats: tuple[str, ...]
    extra: str = ""


KINDS: Final = MappingProxyType(
    {
        "jpeg": Kind("jpg", "image/jpeg", ("JPEG",)),
        "png": Kind("png", "image/png", ("PNG",)),
        "webp": Kind("webp", "image/webp", ("WEBP",)),
        "gif": Kind("gif", "image/gif", ("GIF",)),
        "tiff": Kind("tif", "image/tiff", ("TIFF",)),
        "bmp": Kind("bmp", "image/bmp", ("BMP",)),
        "avif": Kind("avif", "image/avif", ("AVIF",)),
        "heif": Kind("heic", "image/heif", ("HEIF",), "heif"),
        "jxl": Kind("jxl", "image/jxl", ("JXL",), "jxl"),
    }
)
_EXTENSIONS: Final = MappingProxyType(
    {
        "jpg": "jpeg", "jpeg": "jpeg", "jpe": "jpeg", "jfif": "jpeg", "mpo": "jpeg", "png": "png", "apng": "png",
        "webp": "webp", "gif": "gif", "tif": "tiff", "tiff": "tiff", "bmp": "bmp", "dib": "bmp", "avif": "avif",
        "heic": "heif", "heif": "heif", "hif": "heif", "jxl": "jxl", "psd": "", "ico": "", "svg": "", "pdf": "",
        "jp2": "", "tga": "", "txt": "", "zip": "", "mp4": "", "mov": "",
    }
)  # fmt: skip
_MAGICS: Final = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"\xff\x0a", "jxl"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "jxl"),
)
_FOREIGN: Final = (
    (b"8BPS", "PSD"), (b"%!PS", "EPS"), (b"\xc5\xd0\xd3\xc6", "EPS"), (b"%PDF", "PDF"),
    (b"\x00\x00\x01\x00", "ICO"), (b"\x00\x00\x02\x00", "CUR"), (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"), (b"P1", "PBM"), (b"P2", "PGM"), (b"P3", "PPM"), (b"P4", "PBM"),
    (b"P5", "PGM"), (b"P6", "PPM"), (b"P7", "PAM"), (b"DDS ", "DDS"), (b"qoif", "QOI"), (b"icns", "ICNS"),
    (b"\x01\xda", "SGI"), (b"v/1\x01", "OpenEXR"), (b"#?RADIANCE", "Radiance HDR"), (b"FLIF", "FLIF"),
    (b"gimp xcf", "XCF"), (b"\x8aMNG", "MNG"), (b"\x59\xa6\x6a\x95", "Sun raster"), (b"SIMPLE  =", "FITS"),
    (b"<svg", "SVG"), (b"<?xml", "XML, perhaps SVG"), (b"BLP1", "BLP"), (b"BLP2", "BLP"),
    (b"II\xbc\x01", "JPEG XR"), (b"FORM", "IFF"),
)  # fmt: skip
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})


def sniff(head: bytes) -> str:
    """Give the type of content that begins like this; empty for what is none of them."""
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return "" if name == "tiff" and head[8:10] == b"CR" else name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp":
        brands = {head[place : place + 4] for place in range(8, min(len(head), 64), 4)}
        if brands & {b"avif", b"avis"}:
            return "avif"
        return "heif" if brands & _HEIF_BRANDS else ""
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    return ""


def foreign(head: bytes) -> str:
    """Name the image format that is not taken and begins like this; empty for other content."""
    if head[:2] == b"II" and head[8:10] == b"CR":
        return "Canon raw"
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            return name
    return ""


def is_camera_raw(tags: Mapping[int, object]) -> bool:
    """Tell a camera's raw file by the tags of its first page: a TIFF whose visible page is a mere thumbnail."""
    kind = tags.get(SUBFILE_TYPE)
    return DNG_VERSION in tags or (isinstance(kind, int) and kind & 1 == 1 and SUB_IFDS in tags)


def extension(type_: str) -> str:
    """Give the file extension of a type, without the dot."""
    return KINDS[type_].extension


def media_type(type_: str) -> str:
    """Give the media type of a type (IANA)."""
    return KINDS[type_].media_type


def extension_remark(name: str, type_: str) -> str | None:
    """Note a name whose extension says another type than the content is."""
    _, dot, suffix = name.rpartition("/")[2].rpartition(".")
    if not dot:
        return None
    said = _EXTENSIONS.get(suffix.lower())
    return None if said is None or said == type_ else f"extension: named .{suffix.lower()}"
