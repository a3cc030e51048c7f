"""The units of the options that are numbers."""

__all__ = ["unit"]

_SHARE = "share, 0 to 1"
_SEED = "a seed"
UNITS = {
    "ahead": "documents",
    "alpha": "standard deviations",
    "anchor_bytes": "bytes",
    "bands": "bands",
    "batch_tokens": "tokens",
    "block": "documents",
    "bucket_cuts": "perplexity",
    "bucket_percentiles": "percent, 0 to 100",
    "buckets": "buckets",
    "budget": "as `unit` says",
    "chunk_tokens": "tokens",
    "chunks": "chunks",
    "clusters": "clusters",
    "context": "tokens",
    "cuts": "as the combined value",
    "damping": _SHARE,
    "dimensions": "numbers a vector",
    "documents": "documents",
    "fill_gaps": "bytes",
    "fraction": _SHARE,
    "long_weight": "nats",
    "max_draw": _SHARE,
    "max_findings": "findings",
    "max_ngrams": "n-grams",
    "max_page_bytes": "bytes",
    "max_share": _SHARE,
    "max_tokens": "tokens",
    "min_bytes": "bytes",
    "min_characters": "characters",
    "min_documents": "documents",
    "min_score": "probability, 0 to 1",
    "min_sentences": "sentences",
    "min_share": _SHARE,
    "min_tokens": "tokens",
    "min_words": "words",
    "minibatch": _SHARE,
    "missing": "times taken",
    "most_documents": "documents",
    "most_items": "items",
    "neighbours": "cosine distance, 0 to 2",
    "ngrams": "tokens an n-gram",
    "partial": "share of an item's weight, 0 to 1",
    "passes": "passes",
    "per_round": "clusters a round",
    "permutations": "entries",
    "prefix": "characters",
    "probe": "documents",
    "projection": _SEED,
    "proportions": "any, in proportion",
    "ratio": "times",
    "reference_documents": "documents",
    "rounds": "rounds",
    "rows": "rows a band",
    "sample": "documents",
    "seed": _SEED,
    "segments": "segments",
    "share": "share of an item's n-grams, 0 to 1",
    "shingle_size": "as `shingles` says",
    "short_size": "words",
    "short_weight": "nats",
    "size": "words",
    "smoothing": "n-grams",
    "soft_least": "words",
    "statuses": "HTTP statuses",
    "table": "value to times taken",
    "tau": "standard deviations",
    "timeout": "CPU-seconds",
    "weights": "any, in proportion",
}
_OF_STEP = {
    "decontaminate.threshold": "share of an item's weight, 0 to 1",
    "heuristics.thresholds": "the column's",
    "near_dedup.threshold": "Jaccard similarity, 0 to 1",
}


def unit(verb: str, option: str, kind: str) -> str:
    """Return the unit of an option, in words; a dash of those that aren't numbers.

    Raises:
        KeyError: for a number of which nobody said what it counts.
    """
    if "integer" not in kind and "number" not in kind:
        return "–"
    return _OF_STEP.get(f"{verb}.{option}") or UNITS[option]
