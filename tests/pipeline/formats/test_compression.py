"""Whatever is damaged, what came before it and the members after it are read."""

import bz2
import gzip
import io
import lzma
import random
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tamis.pipeline.formats.compression import Codec, Fault, Piece, begins_as_text, codec_of, decompress

LINES = [b'{"text": "line %d \xc3\xa9"}\n' % i for i in range(3000)]
CODECS: list[Codec] = ["gz", "zst", "bz2", "xz"]


def compress(codec: Codec, data: bytes) -> bytes:
    functions: dict[Codec, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
    }
    return functions[codec](data)


def events(data: bytes, codec: Codec | None, **options: int) -> tuple[bytes, list[Fault]]:
    out = list(decompress(io.BytesIO(data), codec, **options))  # type: ignore[arg-type]
    pieces = [event for event in out if isinstance(event, Piece)]
    assert all(piece.data for piece in pieces)
    return b"".join(piece.data for piece in pieces), [event for event in out if isinstance(event, Fault)]


def members(codec: Codec, parts: int = 3) -> tuple[list[bytes], list[bytes]]:
    size = len(LINES) // parts
    plain = [b"".join(LINES[i * size : (i + 1) * size]) for i in range(parts)]
    return plain, [compress(codec, data) for data in plain]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("padding", [b"", b"\0" * 512])
def test_members(codec: Codec, padding: bytes) -> None:
    plain, packed = members(codec)
    data, faults = events(padding.join(packed) + padding, codec)
    assert data == b"".join(plain)
    assert faults == []


@pytest.mark.parametrize("codec", CODECS)
def test_member_starts(codec: Codec) -> None:
    _, packed = members(codec)
    pieces = list(decompress(io.BytesIO(b"".join(packed)), codec))
    starts = [piece.offset for piece in pieces if isinstance(piece, Piece) and piece.first]
    assert starts == [0, len(packed[0]), len(packed[0]) + len(packed[1])]


def test_plain() -> None:
    assert events(b"abc", None) == (b"abc", [])
    assert events(b"", None) == (b"", [])


@pytest.mark.parametrize("codec", CODECS)
def test_empty(codec: Codec) -> None:
    assert events(b"", codec) == (b"", [])
    assert events(compress(codec, b""), codec) == (b"", [])
    assert events(compress(codec, b"") + compress(codec, b"x"), codec) == (b"x", [])


@pytest.mark.parametrize("codec", CODECS)
def test_every_truncation(codec: Codec) -> None:
    plain, packed = members(codec)
    whole = b"".join(packed)
    complete = [0, len(packed[0]), len(packed[0]) + len(packed[1]), len(whole)]
    for end in [*range(0, len(whole), 97), *range(40), *(c + d for c in complete[1:] for d in range(-9, 0))]:
        data, faults = events(whole[:end], codec)
        assert b"".join(plain).startswith(data)
        kept = sum(end >= offset for offset in complete[1:])
        assert len(data) >= sum(map(len, plain[:kept]))
        if end in complete:
            assert faults == []
        else:
            assert [fault.kind for fault in faults] == ["truncated_file"], end
            assert faults[0].offset == complete[kept]


@pytest.mark.parametrize("codec", CODECS)
def test_damage_costs_one_member(codec: Codec) -> None:
    plain, packed = members(codec)
    chance = random.Random(7)
    for _ in range(150):
        middle = bytearray(packed[1])
        for _ in range(chance.choice([1, 1, 5])):
            at = chance.randrange(len(middle))
            action = chance.choice(["flip", "delete", "insert"])
            if action == "flip":
                middle[at] ^= 1 << chance.randrange(8)
            elif action == "delete":
                del middle[at]
            else:
                middle.insert(at, chance.randrange(256))
        data, faults = events(packed[0] + bytes(middle) + packed[2], codec)
        assert data.startswith(plain[0])
        assert data.endswith(plain[2])
        assert faults or data == b"".join(plain)  # some flips are of bytes that mean nothing


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("garbage", [b"garbage", b"\0\x01garbage\0", b"\x1f\x8b\x08", b"BZh", b"x" * 100_000])
def test_garbage_between_members(codec: Codec, garbage: bytes) -> None:
    plain, packed = members(codec)
    data, faults = events(packed[0] + garbage + packed[1], codec)
    assert data == plain[0] + plain[1]
    assert len(faults) == 1
    assert faults[0].offset == len(packed[0])


@pytest.mark.parametrize("codec", CODECS)
def test_no_member_at_all(codec: Codec) -> None:
    data, faults = events(b"plain text, whatever the name says\n" * 1000, codec)
    assert data == b""
    assert [fault.kind for fault in faults] == ["garbage"]


@pytest.mark.parametrize("codec", CODECS)
def test_bombs(codec: Codec) -> None:
    bomb = compress(codec, b"\0" * 40_000_000)
    plain, packed = members(codec)
    data, faults = events(packed[0] + bomb + packed[1], codec, free_expansion=1 << 20, max_expansion=200)
    assert [fault.kind for fault in faults] == ["expansion"]
    assert faults[0].offset == len(packed[0])
    assert data.startswith(plain[0])
    assert data.endswith(plain[1])
    assert len(data) < 40_000_000
    assert events(bomb, codec, free_expansion=1 << 30)[1] == []


def test_pieces_are_bounded() -> None:
    for codec in CODECS:
        packed = compress(codec, b"\0" * 40_000_000)
        assert max(len(event.data) for event in decompress(io.BytesIO(packed), codec)) <= 34 << 20  # type: ignore[union-attr]


def test_many_small_members() -> None:
    plain, packed = [b"WARC/%d" % i for i in range(20_000)], []
    for data in plain:
        compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
        packed.append(compressor.compress(data) + compressor.flush())
    assert events(b"".join(packed), "gz") == (b"".join(plain), [])


def test_zstd_variants() -> None:
    data = b"".join(LINES) * 20
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    streamed = io.BytesIO()
    with zstandard.ZstdCompressor(level=19).stream_writer(streamed, closefd=False) as writer:
        for line in LINES * 20:
            writer.write(line)
    raw = zstandard.ZstdCompressor().compress(random.Random(1).randbytes(300_000))
    assert events(skippable + streamed.getvalue() + skippable, "zst") == (data, [])
    assert events(raw, "zst") == (random.Random(1).randbytes(300_000), [])
    long = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    assert events(zstandard.ZstdCompressor(compression_params=long).compress(data), "zst") == (data, [])


def test_zstd_dictionary_as_warcs_have_it() -> None:
    dictionary = zstandard.train_dictionary(2000, LINES)
    compressor = zstandard.ZstdCompressor(dict_data=dictionary)
    body = b"".join(compressor.compress(line) for line in LINES[:50])
    for content in (dictionary.as_bytes(), zstandard.compress(dictionary.as_bytes())):
        head = b"\x5d\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content
        assert events(head + body, "zst") == (b"".join(LINES[:50]), [])


def test_names() -> None:
    assert codec_of("a.jsonl.GZ") == "gz"
    assert codec_of("a.zstd") == "zst"
    assert codec_of("a.jsonl") is None


def test_begins_as_text() -> None:
    assert begins_as_text("héllo".encode()[:2])
    assert not begins_as_text(b"\xff\xfe")
    assert not begins_as_text(b"a\0")


@given(st.binary(max_size=200), st.sampled_from(CODECS), st.booleans())
def test_never_fails(data: bytes, codec: Codec, magic: bool) -> None:
    head = {"gz": b"\x1f\x8b\x08", "zst": b"\x28\xb5\x2f\xfd", "bz2": b"BZh9", "xz": b"\xfd7zXZ\0"}[codec]
    events((head if magic else b"") + data, codec)
