"""What comes out of a member is what its sender packed, or a reason."""

from __future__ import annotations

import io
import random
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.archives import MemberReader
from pipeline.errors import ArchiveError, MemberError
from pipeline.reasons import ARCHIVE_REASONS, MEMBER_REASONS
from pipeline.settings import Limits
from tests.zips import LIMITS, File, members, outcomes, zipped

METHODS = {"stored": 0, "deflated": 8, "bzip2": 12, "lzma": 14}
CONTENT = random.Random(1).randbytes(3000) + b"easy " * 4000
HYPOTHESIS = settings(
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give the path of an archive to be written."""
    return tmp_path / "a.zip"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method(file: Path, method: int, streamed: bool) -> None:
    """All methods that are taken give back what was packed, held or streamed."""
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("a.bin", CONTENT)
        archive.writestr("empty", b"")
    assert outcomes(file, streamed=streamed) == {"a.bin": CONTENT, "empty": b""}


def test_lzma_without_an_end_mark(file: Path) -> None:
    """Such a stream goes on for as long as it is asked (WinZip writes them)."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.bin", CONTENT)
    data = bytearray(file.read_bytes())
    for place in (6, data.index(b"PK\1\2") + 8):
        data[place] &= ~2
    file.write_bytes(data)
    assert outcomes(file) == {"a.bin": CONTENT}


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (File(b"a", b"hello", crc=1), "bad-crc"),
        (File(b"a", b"hello", method=8, crc=1), "bad-crc"),
        (File(b"a", b"hello" * 99, method=8, size=494), "size-mismatch"),
        (File(b"a", b"hello" * 99, method=8, size=496), "size-mismatch"),
        (File(b"a", b"hello" * 99, method=8, size=0, crc=0), "size-mismatch"),
        (File(b"a", b"hello", method=8, packed=b"\xff\xff\xff\xff"), "bad-stream"),
        (File(b"a", b"hello" * 99, method=8, packed=b"\x02\x00"), "bad-stream"),
        (File(b"a", b"hello", method=12, packed=b"BZh9 nonsense"), "bad-stream"),
        (File(b"a", b"hello", method=14, packed=b"\0\0\5\0\xff\0\0\0\0"), "bad-stream"),
        (File(b"a", b"hello", method=14, packed=b""), "bad-stream"),
        (File(b"a", b"hello", local_name=b"b"), "header-mismatch"),
        (File(b"a", b"hello", local_method=8), "header-mismatch"),
    ],
)
def test_lies_and_damage(file: Path, member: File, reason: str) -> None:
    """Each lie and each kind of damage costs one member its verdict, the same held and streamed."""
    file.write_bytes(zipped([member, File(b"good", b"good")]))
    for streamed in (False, True):
        assert outcomes(file, streamed=streamed) == {"a": reason, "good": b"good"}


def test_data_that_runs_into_the_next_member(file: Path) -> None:
    """A local header that claims a longer extra field shifts its data into its neighbour's: refused."""
    data = bytearray(zipped([File(b"a", b"hello", local_extra=b""), File(b"b", b"world")]))
    data[28:30] = (20).to_bytes(2, "little")
    file.write_bytes(data)
    assert outcomes(file) == {"a": "header-mismatch", "b": b"world"}


def test_a_descriptor_behind_the_data(file: Path) -> None:
    """Sizes and checksum may come after the data; the directory has them too."""
    file.write_bytes(zipped([File(b"a", b"hello", method=8, flags=8), File(b"b", b"world", flags=8)]))
    assert outcomes(file) == {"a": b"hello", "b": b"world"}


def test_bytes_behind_a_stream_are_nobodys(file: Path) -> None:
    """What a packer leaves between the end of a stream and the next member does not matter."""
    packed = File(b"a", b"hello", method=8).data + b"left over"
    file.write_bytes(zipped([File(b"a", b"hello", method=8, packed=packed)]))
    for streamed in (False, True):
        assert outcomes(file, streamed=streamed) == {"a": b"hello"}


@pytest.mark.slow
def test_a_bomb_stops_where_it_was_declared_to(file: Path) -> None:
    """No more is produced than was declared, whatever the stream holds."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    file.write_bytes(zipped([File(b"a", b"x" * 1000, method=8, packed=bomb)]))
    (member,) = members(file)
    pieces: list[int] = []
    with MemberReader(file, file.stat().st_size) as reader, pytest.raises(MemberError, match="size-mismatch"):
        pieces.extend(len(piece) for piece in reader.stream(member, LIMITS))
    assert sum(pieces) <= member.size
    assert outcomes(file) == {"a": "size-mismatch"}


def test_a_file_that_changed(file: Path) -> None:
    """An archive that is another one now ends with a reason."""
    file.write_bytes(zipped([File(b"a")]))
    size = file.stat().st_size
    file.write_bytes(zipped([File(b"a"), File(b"b")]))
    for path in (file, file.with_name("none.zip")):
        with pytest.raises(ArchiveError) as caught:
            MemberReader(path, size)
        assert caught.value.reason == "vanished"


def test_the_limit_on_a_member_holds_for_the_reader_too(file: Path) -> None:
    """A limit that became lower since preflight is kept."""
    file.write_bytes(zipped([File(b"a", b"hello")]))
    (member,) = members(file)
    with (
        MemberReader(file, file.stat().st_size) as reader,
        pytest.raises(MemberError, match="member-too-large"),
    ):
        reader.read(member, Limits(max_member_bytes=4))


@HYPOTHESIS
@given(
    contents=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="/\\\0:"), min_size=1, max_size=12).filter(
            lambda name: name.strip(". ") != ""
        ),
        st.tuples(st.binary(max_size=3000), st.sampled_from([0, 8, 12, 14])),
        max_size=6,
    )
)
def test_good_archives_agree_with_the_standard_library(
    file: Path, contents: dict[str, tuple[bytes, int]]
) -> None:
    """Whatever names, contents and methods: both read the same."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, (content, method) in contents.items():
            archive.writestr(name, content, compress_type=method)
    with zipfile.ZipFile(file) as archive:
        expected = {info.filename: archive.read(info) for info in archive.infolist()}
    taken = outcomes(file)
    assert taken.keys() == expected.keys()
    for name, content in expected.items():
        assert taken[name] in {content, "litter"}


def _samples() -> list[bytes]:
    contents = {"a.png": CONTENT[:2000], "dir/b.txt": b"text" * 50, "ü.bin": b""}
    found = []
    for method in METHODS.values():
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        found.append(out.getvalue())
    found.append(zipped([File(b"a", b"hello", method=8, flags=8), File(b"b/", b"")], comment=b"comment"))
    return found


SAMPLES = _samples()


@pytest.mark.slow
@settings(HYPOTHESIS, max_examples=400)
@given(sample=st.sampled_from(SAMPLES), chance=st.randoms(use_true_random=False), changes=st.integers(1, 5))
def test_any_damage_ends_in_verdicts(file: Path, sample: bytes, chance: random.Random, changes: int) -> None:
    """However an archive is changed, the answer is bytes with the right checksum or a known reason, both ways."""
    data = bytearray(sample)
    for _ in range(changes):
        place = chance.randrange(max(1, len(data)))
        match chance.randrange(5):
            case 0:
                data[place : place + 1] = chance.randbytes(1)
            case 1:
                del data[place : place + chance.randrange(1, 60)]
            case 2:
                data[place:place] = chance.choice(
                    [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\7", chance.randbytes(9)]
                )
            case 3:
                data[place : place + 4] = chance.choice(
                    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"]
                )
            case _:
                data[place : place + 2] = chance.choice([b"\xff\xff", b"\1\0", b"\x63\0"])
    file.write_bytes(data)
    answers = []
    for streamed in (False, True):
        try:
            found = outcomes(file, streamed=streamed)
        except ArchiveError as error:
            answers.append({"": error.reason})
        else:
            answers.append({name: what if isinstance(what, str) else "" for name, what in found.items()})
    held, streamed_ = answers
    assert held.keys() == streamed_.keys()
    assert {*held.values(), *streamed_.values()} <= {"", *MEMBER_REASONS, *ARCHIVE_REASONS}
    assert [name for name, why in held.items() if not why] == [
        name for name, why in streamed_.items() if not why
    ]
