"""The labelled set: texts, and what should be found in each as (kind, first byte, byte after the last)."""

import re
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "golden" / "pii_labelled.txt"


def labelled():
    cases = []
    for line in FILE.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        text, spans, at = "", [], 0
        for match in re.finditer(r"\{(email|ip|phone|iban|card|key)\|(.*?)\}", line):
            text += plain(line[at : match.start()])
            start = len(text.encode())
            text += plain(match[2])
            spans.append((match[1], start, len(text.encode())))
            at = match.end()
        cases.append((text + plain(line[at:]), spans))
    return cases


def plain(part):
    return part.replace("~", "").replace("\\n", "\n").replace("\\t", "\t")
