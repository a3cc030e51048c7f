"""Characters that no output may carry raw: they drive a terminal, or hide and reorder what is read."""

import re

__all__ = ["UNPRINTABLE"]

UNPRINTABLE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # controls (Cc): the cursor, colours, titles, bells
    "\xad\u061c\u180e\u200b\u200e\u200f"  # invisible: soft hyphen, marks of direction, the blank of no width
    "\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # parting of lines, direction, invisible operators, byte order mark
    "\ud800-\udfff\ufffe\uffff"  # surrogates, as in file names that aren't UTF-8, and what is no character
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # controls of hieroglyphs, shorthand, music
    "\U000e0000-\U000e007f"  # tags, which hide whole texts
    "]"
)
"""One such character. The joiners U+200C and U+200D stay, since scripts and emoji need them, and so do the visible
number signs of Unicode's class Cf."""
