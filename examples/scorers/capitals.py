"""A scorer of one's own, as it lies: `score: {scorer: "examples/scorers/capitals.py:Capitals", ...}` runs it."""

import pyarrow as pa

__all__ = ["Capitals"]


class Capitals:
    """The share of letters that are capitals: some posts shout."""

    schema = pa.schema(
        [pa.field("capital_share", pa.float64(), nullable=False, metadata={"description": "of the letters, 0 to 1"})]
    )

    def score(self, texts: object) -> pa.RecordBatch:
        """Return a row for each text; a null counts as an empty one."""
        shares = []
        for text in pa.array(texts).to_pylist():
            letters = [letter for letter in text or "" if letter.isalpha()]
            shares.append(sum(map(str.isupper, letters)) / max(1, len(letters)))
        return pa.RecordBatch.from_arrays([pa.array(shares, pa.float64())], schema=self.schema)
