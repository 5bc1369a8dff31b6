"""Names of members become paths that stay inside, never meet, and work on every file system."""

from __future__ import annotations

import posixpath
import re
import struct
import unicodedata
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.archives.names import (
    NameRefused,
    collision_key,
    decode,
    folder_name,
    is_litter,
    is_simple,
    numbered,
    parts,
    readable,
    safe_path,
    with_index,
)

UNIX, DOS = 3, 0
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])", re.IGNORECASE)
NASTY = st.sampled_from(
    [
        *(
            "..",
            ".",
            "",
            "con",
            "NUL.txt",
            "aux ",
            "COM1",
            "LPT¹.png",
            "a.",
            "a ",
            " a",
            "~1",
            "a~7.jpg",
            "long",
        ),
        *(
            "\u202e",
            "é",
            "e\u0301",
            "ß",
            "SS",
            "İ",
            "ﬁ",
            "\u2028",
            "a:b",
            "a\\b",
            "a|b*?",
            '<">',
            ".hidden",
            "-rf",
        ),
        *("x" * 300, "ж" * 200, "\x7f"),
    ]
)
NAMES = st.lists(st.one_of(NASTY, st.text(max_size=30)), min_size=1, max_size=30).map("/".join)


def safe(name: str, system: int = UNIX) -> str | None:
    """Give the safe path of a name, None when it is refused."""
    try:
        return safe_path(parts(name, system))
    except NameRefused:
        return None


@given(NAMES)
@example("../a")
@example("a/../../b")
@example("x/" * 200 + "y.png")
@example("\ud800.png")
def test_a_safe_path_is_safe(name: str) -> None:
    """Relative, inside, without anything that Windows, macOS or Linux cannot hold."""
    path = safe(name)
    if path is None:
        return
    assert not path.startswith("/")
    assert posixpath.normpath(path) == path
    assert len(path.encode()) <= 700
    for component in path.split("/"):
        assert component not in {"", ".", ".."}
        assert len(component.encode()) <= 200
        assert not component.startswith(".")
        assert component[-1] not in {".", " "}
        assert not set(component) & set('<>:"|?*\\/')
        assert all(unicodedata.category(char)[0] != "C" for char in component), component
        assert not RESERVED.fullmatch(component.split(".", 1)[0].rstrip(" ")), component


@given(NAMES)
def test_a_safe_path_stays_as_it_is(name: str) -> None:
    """Making a safe path safe again changes nothing, and the same name always gives the same path."""
    path = safe(name)
    if path is not None and not path.startswith("long/"):
        assert safe(path) == path
    assert safe(name) == path


@given(
    st.one_of(
        NAMES,
        st.from_regex(r"([A-Za-z_. ]{1,6}/){0,3}(con|com1|thumbs\.db|__MACOSX|a)(\.jpg|/x)?", fullmatch=True),
        st.from_regex(r"([A-Za-z0-9_ .()~-]{1,9}/){0,4}[A-Za-z0-9_ .()-]{1,150}", fullmatch=True),
    )
)
@example("001/IMG_0001.jpg")
@example("a/con.x/b.jpg")
@example("a" * 123 + "/b.jpg")
def test_simple_names_need_nothing(name: str) -> None:
    """What is called simple would come out the same, and be neither litter nor numbered."""
    if is_simple(name):
        for system in (UNIX, DOS):
            components = parts(name, system)
            assert components == name.split("/")
            assert not is_litter(components)
            assert safe_path(components) == name
        assert not numbered(name)


def test_most_names_are_simple() -> None:
    """Cameras, phones and shops name files so."""
    for name in (
        "IMG_0001.JPG",
        "DCIM/100APPLE/IMG_0001 (2).jpg",
        "shop/a-b+c,d=e@f.png",
        "2024-05-17 12.30.01.jpg",
    ):
        assert is_simple(name)
    for name in (
        "",
        "a/",
        "/a",
        "../a",
        "a//b",
        "con",
        "a/NUL.jpg",
        "com1.x/a",
        "x/Thumbs.db",
        "__MACOSX/a",
        "a\\b",
        "é",
    ):
        assert not is_simple(name)


@given(st.lists(NAMES, max_size=12))
def test_no_two_members_meet(names: list[str]) -> None:
    """Set apart as preflight does it, no two paths are equal on any file system, nor one a folder of another."""
    paths = [safe(name) for name in names]
    keys = [collision_key(path) for path in paths if path is not None]
    folders = {key[:cut] for key in keys for cut in range(len(key)) if key[cut] == "/"}
    final = [
        with_index(path, index)
        if keys.count(collision_key(path)) > 1 or collision_key(path) in folders or numbered(path)
        else path
        for index, path in enumerate(paths)
        if path is not None
    ]
    for form in ("NFC", "NFD"):
        seen = [unicodedata.normalize(form, path).casefold() for path in final]
        assert len(set(seen)) == len(seen)
        inside = {path[:cut] for path in seen for cut in range(len(path)) if path[cut] == "/"}
        assert not inside & set(seen)


@pytest.mark.parametrize(
    ("name", "system", "reason"),
    [
        ("../a", UNIX, "path-escape"),
        ("a/../../b", UNIX, "path-escape"),
        ("a/..", UNIX, "path-escape"),
        ("..\\a", UNIX, "path-escape"),
        ("a\\..\\..\\b", DOS, "path-escape"),
        ("/etc/passwd", UNIX, "absolute-path"),
        ("\\\\host\\share", DOS, "absolute-path"),
        ("C:\\a", DOS, "absolute-path"),
        ("c:/a", UNIX, "absolute-path"),
        ("c:..\\a", DOS, "absolute-path"),
        ("c:a/../../b", UNIX, "absolute-path"),
        ("c:..", UNIX, "absolute-path"),
        ("", UNIX, "bad-name"),
        (".", UNIX, "bad-name"),
        ("a/. .", UNIX, "bad-name"),
        ("a\0.png", UNIX, "bad-name"),
    ],
)
def test_names_that_lead_elsewhere(name: str, system: int, reason: str) -> None:
    """Names that climb, start at the root, or name nothing are refused with their reason."""
    with pytest.raises(NameRefused) as caught:
        parts(name, system)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b c (1).jpg", "a/b c (1).jpg"),
        ("a..jpg", "a..jpg"),
        ("...jpg", "_..jpg"),
        ("./a//b.jpg", "a/b.jpg"),
        ("CON.png", "_CON.png"),
        ("nul/a.png", "_nul/a.png"),
        ("a\u202egpj.exe", "a_gpj.exe"),
        ("e\u0301.png", "é.png"),
        ('ab:"c?.png', "ab__c_.png"),
        ("a:b.png", "a_b.png"),
        ("c:evil.png", "c_evil.png"),
        ("c:", "c_"),
        ("c:a//b..png", "c_a/b..png"),
        ("end. ", "end_"),
        (".hidden.png", "_hidden.png"),
        ("~1/a", "~1_/a"),
        ("b~7.jpg/a", "b~7_.jpg/a"),
        ("фото/ёж.jpg", "фото/ёж.jpg"),
    ],
)
def test_known_paths(name: str, path: str) -> None:
    """Ordinary names stay, others change as little as possible."""
    assert safe(name) == path


def test_backslashes_separate_where_dos_wrote_them() -> None:
    """Archivers on DOS and Windows may write them between folders; on Unix they are part of a name."""
    assert safe("a\\b.png", DOS) == "a/b.png"
    assert safe("a\\b.png", UNIX) == "a_b.png"


def test_long_names_are_shortened_and_kept_apart() -> None:
    """Long names keep their beginning and extension, deep ones their end; what differs stays different."""
    first, second = safe("x" * 300 + "1.png"), safe("x" * 300 + "2.png")
    assert first is not None
    assert first != second
    assert first.startswith("xxx")
    assert first.endswith(".png")
    deep = safe("d/" * 600 + "a.png")
    assert deep is not None
    assert deep.startswith("long/")
    assert deep.endswith("-a.png")


@pytest.mark.parametrize(
    ("name", "litter"),
    [
        ("__MACOSX/._a.jpg", True),
        ("a/.DS_Store", True),
        ("a/Thumbs.db", True),
        ("a/._b.png", True),
        ("a/desktop.ini", True),
        ("a/__MACOSX.png", False),
        ("thumbs.db.png", False),
    ],
)
def test_litter(name: str, litter: bool) -> None:
    """Files that operating systems leave are known by their names."""
    assert is_litter(parts(name, UNIX)) is litter


def unicode_path(raw: bytes, name: str, version: int = 1) -> bytes:
    """Make an Info-ZIP Unicode Path field."""
    body = struct.pack("<BI", version, zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x7075, len(body)) + body


def test_encodings() -> None:
    """The flag wins, then the Unicode Path field if it is of this name, then the given encoding, then cp437."""
    raw = "ж.png".encode("cp866")
    assert decode("ж.png".encode(), 0x800, b"", None) == "ж.png"
    assert decode(raw, 0, unicode_path(raw, "ж.png"), None) == "ж.png"
    assert decode(raw, 0, unicode_path(b"other", "evil.png"), None) == "ª.png"
    assert decode(raw, 0, unicode_path(raw, "evil.png", 2), None) == "ª.png"
    assert decode(raw, 0, b"\x75\x70\xff\xff\1", "cp866") == "ж.png"
    with pytest.raises(NameRefused, match="utf-8"):
        decode(b"\xff", 0x800, b"", None)
    assert readable(b"a\xff\0b") == "a\\xff\\x00b"


@given(st.binary(max_size=40), st.binary(max_size=60), st.sampled_from([None, "cp866", "shift_jis", "utf-8"]))
def test_any_bytes_decode_or_are_refused(raw: bytes, extra: bytes, encoding: str | None) -> None:
    """Names and extra fields may hold anything."""
    for flags in (0, 0x800):
        try:
            name = decode(raw, flags, extra, encoding)
        except NameRefused as refusal:
            name = refusal.reason
        assert isinstance(name, str)
    assert "\0" not in readable(raw)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("photos.zip", "photos-"),
        ("a/b/photos.zip", "photos-"),
        ("..", "_"),
        ("x" * 300, "xxx"),
        ("con.zip", "_con-"),
    ],
)
def test_folders_of_archives(name: str, start: str) -> None:
    """The folder carries the archive's name, made safe, and digits of its digest."""
    folder = folder_name(name, bytes(range(32)))
    assert folder.startswith(start)
    assert folder.endswith("-000102030405")
    assert "/" not in folder
