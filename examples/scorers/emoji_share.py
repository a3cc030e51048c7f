"""A scorer of one's own, as it lies: `score: {scorer: "examples/scorers/emoji_share.py:EmojiShare", ...}` runs it."""

import pyarrow as pa

__all__ = ["EmojiShare"]


class EmojiShare:
    """The share of characters that are emoji, or other signs from U+1F300 on."""

    schema = pa.schema(
        [pa.field("emoji_share", pa.float64(), nullable=False, metadata={"description": "share of emoji, 0 to 1"})]
    )

    def score(self, texts: object) -> pa.RecordBatch:
        """Return a row for each text; a null counts as an empty one."""
        found = [text or "" for text in pa.array(texts).to_pylist()]
        shares = [sum(sign > "\U0001f300" for sign in text) / max(1, len(text)) for text in found]
        return pa.RecordBatch.from_arrays([pa.array(shares, pa.float64())], schema=self.schema)
