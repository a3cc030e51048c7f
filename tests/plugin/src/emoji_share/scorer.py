"""The scorer: from texts to one column."""

import pyarrow as pa

from tamis.scorers.text.texts import Texts, as_list

__all__ = ["EmojiShare"]

FIRST, LAST = 0x1F300, 0x1FAFF


class EmojiShare:
    """The share of characters that are emoji."""

    schema = pa.schema([pa.field("emoji_share", pa.float64(), nullable=False)])

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return one row a text."""
        shares = [
            sum(FIRST <= ord(character) <= LAST for character in text) / max(1, len(text)) for text in as_list(texts)
        ]
        return pa.RecordBatch.from_arrays([pa.array(shares, pa.float64())], schema=self.schema)
