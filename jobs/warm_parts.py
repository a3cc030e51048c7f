"""The parts of the program with kernels that no step of the sample config uses; see `tamis.jobs.warm`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

__all__ = ["MORE_PARTS"]

Part = Callable[[Path, Sequence[str]], None]


def _ids(texts: Sequence[str]) -> list[str]:
    return [f"{number:032x}" for number in range(len(texts))]


def _near_duplicates(folder: Path, texts: Sequence[str]) -> None:
    """Signatures of words and characters, bands, pairs with every check, clusters of both kinds."""
    del folder
    from tamis.scorers.dedup.near_duplicates import NearDuplicates, Shard
    from tamis.scorers.dedup.shingles import Shingles

    copies = [*texts, *texts, *(text[:-20] for text in texts)]
    shard = Shard(pa.array(copies, pa.large_string()), _ids(copies))
    plain = NearDuplicates.preset("fineweb")
    plain.find([shard], partitions=2, out_of_core=True)
    NearDuplicates.preset("dolma3").find([shard])
    replace(plain, verify="shingles", link="kept", shingles=Shingles("characters", 24)).find([shard])
    replace(plain, verify="signatures", shingles=Shingles(hash="sha1")).find([shard])


def _repeats(folder: Path, texts: Sequence[str]) -> None:
    """Repeated paragraphs, lines and substrings."""
    del folder
    from tamis.scorers.dedup.cuts import cut_spans
    from tamis.scorers.dedup.near_duplicates import Shard
    from tamis.scorers.dedup.paragraphs import RepeatedParagraphs
    from tamis.scorers.dedup.substrings import RepeatedSubstrings

    copies = pa.array([*texts, *texts], pa.large_string())
    shard = Shard(copies, _ids(copies.to_pylist()))
    lines = RepeatedParagraphs("lines")
    lines.located(copies, lines.units(copies).keys)
    for found in (lines.find([shard]), RepeatedSubstrings(64).find([shard], partitions=2)):
        found[0].removed(copies)
        cut_spans(copies, found[0])


def _contamination(folder: Path, texts: Sequence[str]) -> None:
    """The index of evaluation items, and each way to look for them."""
    del folder
    from tamis.scorers.contamination.decon import DeconScore, Item
    from tamis.scorers.contamination.find import Aligned, NGrams
    from tamis.scorers.contamination.index import ContaminationIndex

    array = pa.array(texts, pa.large_string())
    index = ContaminationIndex.build(array)
    index.documents_with(array)
    Aligned().find(array, index)
    grams = NGrams(array)
    grams.counted(grams.count(array))
    grams.find(array)
    DeconScore([Item(text, text, text) for text in texts[:3]]).find(array)


def _personal_data(folder: Path, texts: Sequence[str]) -> None:
    """Personal data found and masked."""
    del folder
    from tamis.scorers.pii.detect import find_pii
    from tamis.scorers.pii.mask import Masker

    array = pa.array([*texts, "write to someone@example.org, or call +44 20 7946 0958"], pa.large_string())
    Masker().apply(array, find_pii(array))


def _url_words(folder: Path, texts: Sequence[str]) -> None:
    """Words in addresses."""
    del folder, texts
    from tamis.scorers.urls.rules import UrlWords

    UrlWords(["bad"], ["soft", "softer"], ["inside"]).matches(["http://example.org/bad", None])


def _embeddings(folder: Path, texts: Sequence[str]) -> None:
    """Hashed and static embeddings, k-means over them, the bandit's logarithm."""
    del folder
    from tamis.scorers.embeddings.hashed import HashedEmbeddings
    from tamis.scorers.embeddings.kmeans import fit_clusters
    from tamis.scorers.embeddings.kmeans_start import start_spread
    from tamis.scorers.embeddings.static_kernels import mean_rows
    from tamis.scorers.kernels.portable_log import natural_log

    array = pa.array(texts, pa.large_string())
    HashedEmbeddings(64, units="bytes").vectors(array)
    vectors = HashedEmbeddings(64).vectors(array)
    fit_clusters(vectors, start_spread(vectors, 3), ids=_ids(texts), rounds=2, empty="farthest")
    one, ends = np.zeros(1, np.int64), np.array([0, 1], np.int64)
    natural_log(2.0)
    mean_rows(np.zeros((1, 4), np.float32), one, np.ones(1), one, ends, np.zeros((1, 4)))


def _mixtures(folder: Path, texts: Sequence[str]) -> None:
    """A mixture of n-gram models."""
    from tamis.scorers.mixture.mixmin import mixmin, score_tokens, token_probabilities
    from tamis.scorers.ngram.model import open_ngram_model
    from tamis.scorers.perplexity.training import train_lm
    from tamis.scorers.text.spans import text_spans

    train_lm(texts, folder, order=2, use_lmplz=False)
    scores = score_tokens(open_ngram_model(folder / "lm.binary"), text_spans(list(texts)))
    mixmin(token_probabilities([scores, scores]))


MORE_PARTS: Mapping[str, Part] = {
    "near_duplicates": _near_duplicates,
    "repeats": _repeats,
    "contamination": _contamination,
    "personal_data": _personal_data,
    "url_words": _url_words,
    "embeddings": _embeddings,
    "mixtures": _mixtures,
}
"""Parts by name; each is handed an empty folder and a few texts."""
