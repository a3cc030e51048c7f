import csv
import gzip
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError, InputError
from tamis.scorers.mixture import megatron_files
from tamis.scorers.mixture.megatron_files import MegatronTokens, merge_megatron, read_megatron_index, write_megatron
from tamis.scorers.mixture.olmo_files import OlmoDocument, OlmoTokens, write_olmo
from tamis.scorers.mixture.token_files import TokenSummary, token_type, vocabulary_size

DOCUMENTS = st.lists(st.lists(st.integers(0, 299), max_size=9), min_size=1, max_size=8).filter(any)


def read_index_by_hand(prefix: Path) -> tuple[str, list[int], list[int], list[int]]:
    """An independent reader of the format's description."""
    raw = prefix.with_suffix(".idx").read_bytes()
    assert raw[:9] == b"MMIDIDX\x00\x00"
    (version,) = struct.unpack("<Q", raw[9:17])
    assert version == 1
    code = raw[17]
    sequences, bounds = struct.unpack("<QQ", raw[18:34])
    assert len(raw) == 34 + sequences * 12 + bounds * 8
    lengths = list(struct.unpack(f"<{sequences}i", raw[34 : 34 + 4 * sequences]))
    at = 34 + 4 * sequences
    pointers = list(struct.unpack(f"<{sequences}q", raw[at : at + 8 * sequences]))
    at += 8 * sequences
    return {8: "<u2", 4: "<i4"}[code], lengths, pointers, list(struct.unpack(f"<{bounds}q", raw[at:]))


def documents_by_hand(prefix: Path) -> list[list[int]]:
    kind, lengths, pointers, bounds = read_index_by_hand(prefix)
    data = prefix.with_suffix(".bin").read_bytes()
    width = np.dtype(kind).itemsize
    sequences = [np.frombuffer(data[p : p + n * width], kind).tolist() for p, n in zip(pointers, lengths, strict=True)]
    return [[token for some in sequences[a:b] for token in some] for a, b in itertools.pairwise(bounds)]


def ended(documents: list[list[int]], end: int) -> list[list[int]]:
    return [tokens if tokens[-1] == end else [*tokens, end] for tokens in documents if tokens]


@given(DOCUMENTS, st.sampled_from([300, 65536, 65537, 100_000]))
def test_megatron_files_are_what_the_format_says(
    tmp_path_factory: Any, documents: list[list[int]], vocabulary: int
) -> None:
    prefix = tmp_path_factory.mktemp("m") / "data"
    summary = write_megatron(prefix, ((str(i), d) for i, d in enumerate(documents)), vocabulary=vocabulary, end=299)
    wanted = ended(documents, 299)
    assert documents_by_hand(prefix) == wanted
    assert [tokens.tolist() for tokens in MegatronTokens(prefix)] == wanted
    assert summary.dtype == ("uint16" if vocabulary <= 65536 else "int32")
    assert summary.documents == len(wanted) == summary.ends_added + summary.ends_found
    assert summary.tokens == sum(map(len, wanted))
    assert summary.empty == len(documents) - len(wanted)
    assert set(summary.files) == {"data.bin", "data.idx"}


def test_lengths_count_the_end_that_was_added(tmp_path: Path) -> None:
    summary = write_megatron(tmp_path / "d", [("a", [1, 2]), ("b", [3, 0])], vocabulary=10, end=0)
    assert read_index_by_hand(tmp_path / "d")[1] == [3, 2]
    assert (summary.ends_added, summary.ends_found) == (1, 1)
    assert summary.sentence() == "an end-of-document token was added to 1 of 2 documents: some had none"
    none = write_megatron(tmp_path / "e", [("a", [1, 2])], vocabulary=10, end=0)
    assert none.sentence().endswith("the tokenizer adds no end-of-document token")
    every = write_megatron(tmp_path / "f", [("a", [1, 0])], vocabulary=10, end=0)
    assert every.sentence() == "all 1 documents ended with the end-of-document token"


def test_offsets_beyond_32_bits(tmp_path: Path) -> None:
    lengths = np.full(5, 2**28, np.int32)
    bounds = np.arange(6, dtype=np.int64)
    megatron_files._write_index(tmp_path / "d.idx", np.dtype("<i4"), lengths, bounds, TokenSummary())
    assert read_index_by_hand(tmp_path / "d")[2] == [i * 2**30 for i in range(5)]
    with (tmp_path / "d.bin").open("wb") as file:  # sparse: takes no room on the disk
        file.truncate(5 * 2**30)
        file.seek(4 * 2**30)
        file.write(np.array([7, 8], "<i4").tobytes())
    tokens = MegatronTokens(tmp_path / "d")
    assert len(tokens) == 5
    assert tokens[4][:2].tolist() == [7, 8]
    assert tokens.index.pointers[-1] > 2**31


@given(st.lists(DOCUMENTS, min_size=1, max_size=4))
def test_merged_files_have_the_documents_of_all(tmp_path_factory: Any, parts: list[list[list[int]]]) -> None:
    folder = tmp_path_factory.mktemp("m")
    for i, documents in enumerate(parts):
        write_megatron(folder / f"p{i}", [("x", d) for d in documents], vocabulary=300, end=1)
    summary = merge_megatron([folder / f"p{i}" for i in range(len(parts))], folder / "all")
    wanted = [tokens for documents in parts for tokens in ended(documents, 1)]
    assert documents_by_hand(folder / "all") == wanted
    assert summary.documents == len(wanted)
    whole = folder / "whole"
    write_megatron(whole, [("x", d) for documents in parts for d in documents], vocabulary=300, end=1)
    assert whole.with_suffix(".idx").read_bytes() == (folder / "all.idx").read_bytes()
    assert whole.with_suffix(".bin").read_bytes() == (folder / "all.bin").read_bytes()


def test_damaged_and_unlike_files_are_refused(tmp_path: Path) -> None:
    write_megatron(tmp_path / "a", [("x", [1, 2, 3])], vocabulary=10, end=0)
    write_megatron(tmp_path / "b", [("x", [1, 2, 3])], vocabulary=100_000, end=0)
    with pytest.raises(InputError, match="int32, uint16 can't be merged"):
        merge_megatron([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    (tmp_path / "a.bin").write_bytes(b"12345")
    with pytest.raises(InputError, match="5 bytes where"):
        read_megatron_index(tmp_path / "a")
    (tmp_path / "b.idx").write_bytes((tmp_path / "b.idx").read_bytes()[:-1])
    with pytest.raises(InputError, match="cut short"):
        read_megatron_index(tmp_path / "b")
    (tmp_path / "b.idx").write_bytes(b"x")
    with pytest.raises(InputError, match="isn't a Megatron index"):
        read_megatron_index(tmp_path / "b")
    with pytest.raises(InputError, match="can't be read"):
        read_megatron_index(tmp_path / "none")


def test_ids_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="document x has token 65536, but the vocabulary has 65536 ids; count the"):
        write_megatron(tmp_path / "a", [("x", [65536])], vocabulary=65536, end=0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="token -1"):
        write_megatron(tmp_path / "a", [("x", [-1])], vocabulary=65536, end=0)
    with pytest.raises(DataError, match="whole numbers"):
        write_megatron(tmp_path / "a", [("x", [0.5])], vocabulary=65536, end=0)  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="isn't an id"):
        write_megatron(tmp_path / "a", [("x", [1])], vocabulary=5, end=5)
    with pytest.raises(DataError, match="no document"):
        write_megatron(tmp_path / "a", [("x", [])], vocabulary=5, end=1)
    assert token_type(65536, np.dtype("<u4")) == np.uint16
    assert token_type(65537, np.dtype("<u4")) == np.uint32
    with pytest.raises(ConfigError, match="fits no token file"):
        token_type(2**31 + 1, np.dtype("<i4"))


def test_added_tokens_count_in_the_vocabulary() -> None:
    from tokenizers import AddedToken, Tokenizer, models

    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(65536)}, unk_token="w0"))
    assert token_type(vocabulary_size(tokenizer), np.dtype("<u4")) == np.uint16
    tokenizer.add_special_tokens([AddedToken("<|end|>")])
    assert tokenizer.get_vocab_size(with_added_tokens=False) == 65536
    assert token_type(vocabulary_size(tokenizer), np.dtype("<u4")) == np.uint32


@given(DOCUMENTS, st.sampled_from([300, 100_000]), st.integers(1, 30))
def test_olmo_files_are_what_the_format_says(
    tmp_path_factory: Any, documents: list[list[int]], vocabulary: int, most: int
) -> None:
    folder = tmp_path_factory.mktemp("o")
    rows = [OlmoDocument(f"id{i}", 'web,"x"', d) for i, d in enumerate(documents)]
    summary = write_olmo(folder, rows, vocabulary=vocabulary, end=299, max_tokens=most)
    dtype = np.uint16 if vocabulary == 300 else np.uint32
    wanted = ended(documents, 299)
    found, names = [], []
    for path in sorted(folder.glob("*.npy")):
        tokens = np.fromfile(path, dtype)
        with gzip.open(path.with_suffix("").with_suffix(".csv.gz"), "rt", newline="") as file:
            table = list(csv.reader(file))
        for n, (start, end, doc_id, source, number) in enumerate(table):
            found.append(tokens[int(start) : int(end)].tolist())
            names.append(doc_id)
            assert source == 'web,"x"'
            assert int(number) == n
        assert int(table[-1][1]) == len(tokens)
        assert int(table[-1][0]) < most  # closed as soon as it has enough
        ours = OlmoTokens(path, dtype)
        assert [ours[i].tolist() for i in range(len(ours))] == found[-len(ours) :]
    assert found == wanted
    assert names == [f"id{i}" for i, d in enumerate(documents) if d]
    assert summary.tokens == sum(map(len, wanted))
    again = write_olmo(tmp_path_factory.mktemp("o"), rows, vocabulary=vocabulary, end=299, max_tokens=most)
    assert again.files == summary.files


def test_olmo_files_of_the_wrong_type_are_noticed(tmp_path: Path) -> None:
    write_olmo(tmp_path, [OlmoDocument("a", "s", [1, 2])], vocabulary=9, end=0)
    with pytest.raises(InputError, match="uint32 don't fill"):
        OlmoTokens(tmp_path / "part-00000.npy", np.uint32)
    (tmp_path / "part-00000.csv.gz").unlink()
    with pytest.raises(InputError, match="can't be read"):
        OlmoTokens(tmp_path / "part-00000.npy")
    with pytest.raises(ConfigError, match="max_tokens"):
        write_olmo(tmp_path, [], vocabulary=9, end=0, max_tokens=0)
    with pytest.raises(DataError, match="no document"):
        write_olmo(tmp_path, [], vocabulary=9, end=0)


@pytest.mark.peers
def test_megatron_reads_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    documents = [[1, 2, 3], [4], list(range(200))]
    for vocabulary in (300, 100_000):
        write_megatron(tmp_path / f"d{vocabulary}", [("x", d) for d in documents], vocabulary=vocabulary, end=299)
        theirs = datasets.IndexedDataset(str(tmp_path / f"d{vocabulary}"))
        assert [theirs[i].tolist() for i in range(len(theirs))] == ended(documents, 299)
        assert theirs.document_indices.tolist() == [0, 1, 2, 3]


@pytest.mark.peers
def test_olmo_core_reads_it(tmp_path: Path) -> None:
    utils = pytest.importorskip("olmo_core.data.utils")
    documents = [[1, 2, 3], [4], list(range(200))]
    write_olmo(tmp_path, [OlmoDocument(str(i), "s", d) for i, d in enumerate(documents)], vocabulary=300, end=299)
    path = tmp_path / "part-00000.npy"
    for by_array in (False, True):
        bounds = list(utils.iter_document_indices(path, eos_token_id=299, dtype=np.uint16, use_array_if_local=by_array))
        assert [utils.load_array_slice(path, a, b, np.uint16).tolist() for a, b in bounds] == ended(documents, 299)
