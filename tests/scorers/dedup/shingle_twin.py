"""Words, shingles and signatures in plain Python, and the Jaccard similarity and clusters by brute force."""

import hashlib
import re
import struct
import unicodedata

M64 = 2**64 - 1
UNSPACED = re.compile(
    r"[\u0e01-\u0e5b\u0e81-\u0edf\u1000-\u109f\u1780-\u17dd\u3005-\u3007\u3041-\u309f\u30a0-\u30ff\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9fe\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f"
    r"\U00020000-\U000323af]"
)


def folded(character, folding):
    """What a character counts as: "" for nothing, " " for a border, else one character."""
    kept = [c for c in unicodedata.normalize("NFD", character.lower()) if unicodedata.category(c) not in ("Mn", "Me")]
    if not kept:
        return ""
    if len(kept) > 1:
        kept = [character.lower() if len(character.lower()) == 1 else character]
    known = kept[0].isalnum() or unicodedata.category(kept[0]) == "Mc"
    if not known:
        return " "
    if folding == "simplified" and unicodedata.category(character) == "Nd":
        return "0"
    return kept[0]


def words(text, folding):
    if folding == "none":
        return text.replace("\0", "\ufffd").split()
    out = []
    for character in text:
        new = folded(character, folding)
        alone = new.strip() and UNSPACED.match(character) and character.isalpha()
        out.append(f" {new} " if alone else new)
    return "".join(out).split()


def normal(text, folding):
    """The text that character shingles are cut from."""
    if folding == "none":
        return " ".join(words(text, folding))
    return " ".join("".join(folded(character, folding) for character in text).split())


def mix64(x):
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & M64
    x = (x ^ x >> 27) * 0x94D049BB133111EB & M64
    return x ^ x >> 31


def word_value(word):
    h = 0xCBF29CE484222325
    for character in word:
        h = (h ^ ord(character)) * 0x100000001B3 & M64
    return mix64(h)


def mixed(values):
    h = 0
    for value in values:
        h = (h * 0x9E3779B97F4A7C15 + value) & M64
    return mix64(h)


def shingle_texts(text, unit="words", size=5, folding="simplified"):
    """The shingles as datasketch would be given them, in order, repeats included."""
    if unit == "words":
        units = words(text, folding)
        return [" ".join(units[i : i + size]) for i in range(len(units) - size + 1)]
    whole = normal(text, folding)
    return [whole[i : i + size] for i in range(len(whole) - size + 1)]


def shingles(text, unit="words", size=5, folding="simplified", hashing="mix64"):
    """The hashes of the shingles."""
    if hashing == "sha1":
        joined = shingle_texts(text, unit, size, folding)
        return [struct.unpack("<Q", hashlib.sha1(shingle.encode()).digest()[:8])[0] for shingle in joined]
    if unit == "words":
        values = [word_value(word) for word in words(text, folding)]
    else:
        values = [ord(character) for character in normal(text, folding)]
    return [mixed(values[i : i + size]) for i in range(len(values) - size + 1)]


def jaccard(a, b):
    return len(a & b) / len(a | b) if a | b else 0.0


def components(vertices, edges):
    """The connected components as a map from each vertex to the smallest of its component."""
    label = {v: v for v in vertices}
    changed = True
    while changed:
        changed = False
        for a, b in edges:
            least = min(label[a], label[b])
            if label[a] != least or label[b] != least:
                label[a] = label[b] = least
                changed = True
    return label
