"""The conformance suite of scorers: what `tamis.scorers.base.Scorer` asks, held against any scorer and any texts.

```python
def test_mine_conforms():
    check_scorer(EmojiShare(), ["plain", "with 🙂", ""])
```
"""

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from tamis.scorers.base import Scorer

__all__ = ["check_scorer"]


def check_scorer(scorer: Scorer, texts: Sequence[str], *, picklable: bool = True) -> pa.RecordBatch:
    """Hold a scorer to its protocol.

    Checked are the declared schema, no rows for no texts, a null as an empty text, the same rows for any batching,
    slicing and order and for lists and Arrow arrays of every string type, no change of the texts, no missing value in
    columns declared without, equal results when it is called again, and that it survives pickling.

    Args:
        scorer: the scorer.
        texts: at least two, the more different the better.
        picklable: whether it must survive pickling; scorers that hold a large model may be built in each process.

    Returns:
        The rows of the texts, for further checks.

    Raises:
        AssertionError: naming the promise that is broken.
    """
    _hold(len(texts) >= 2, "give at least two texts: one can't show what batching and order do")
    _hold(isinstance(scorer, Scorer), "a scorer has `schema` and `score(texts)`")
    _hold(isinstance(scorer.schema, pa.Schema), f"`schema` is a pyarrow.Schema, not {type(scorer.schema).__name__}")
    given = [*texts, "", texts[0]]
    whole = scorer.score(given)
    _hold(isinstance(whole, pa.RecordBatch), f"`score` returns a pyarrow.RecordBatch, not {type(whole).__name__}")
    _hold(
        whole.schema.equals(scorer.schema), f"`score` returns the declared schema: {whole.schema} isn't {scorer.schema}"
    )
    _hold(whole.num_rows == len(given), f"there is a row a text: {whole.num_rows} rows of {len(given)} texts")
    whole.validate(full=True)
    for field, column in zip(whole.schema, whole.columns, strict=True):
        _hold(
            field.nullable or column.null_count == 0, f"the column {field.name} is declared without nulls but has some"
        )
    _same(whole, scorer.score(given), "calling it again gives the same")
    empty = scorer.score([])
    _hold(empty.num_rows == 0 and empty.schema.equals(scorer.schema), "no texts give no rows of the same schema")
    _same(scorer.score([None, texts[1]]), scorer.score(["", texts[1]]), "a null counts as an empty text")
    _same(_joined(scorer, [[text] for text in given]), whole, "rows don't depend on how texts are batched")
    half = len(given) // 2
    _same(_joined(scorer, [given[:half], given[half:]]), whole, "rows don't depend on how texts are batched")
    turned = scorer.score(given[::-1])
    _same(turned.take(pa.array(range(len(given))[::-1])), whole, "rows don't depend on the order of texts")
    kinds: Sequence[Callable[[], pa.DataType]] = (pa.string, pa.large_string)
    for kind in kinds:
        array = pa.array(["before", *given, "after"], kind())
        kept = array.to_pylist()
        _same(scorer.score(array.slice(1, len(given))), whole, f"a slice of {kind()} is scored as its texts are")
        _same(scorer.score(pa.chunked_array([array.slice(1, 1), array.slice(2, len(given) - 1)])), whole, "chunks too")
        _hold(array.to_pylist() == kept, "texts aren't changed")
    _hold(given == [*texts, "", texts[0]], "texts aren't changed")
    if picklable:
        again: Any = pickle.loads(pickle.dumps(scorer))  # noqa: S301  (what was packed on this line)
        _same(again.score(given), whole, "a pickled scorer gives the same")
    return whole.slice(0, len(texts))


def _joined(scorer: Scorer, parts: Sequence[Sequence[str]]) -> pa.RecordBatch:
    batches = [scorer.score(part) for part in parts]
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _same(found: pa.RecordBatch, wanted: pa.RecordBatch, promise: str) -> None:
    # Null buffers and offsets may differ where values don't; NaN is itself here.
    _hold(repr(found.to_pydict()) == repr(wanted.to_pydict()), promise)


def _hold(kept: bool, promise: str) -> None:
    if not kept:
        raise AssertionError(promise)
