"""The text statistics again, as plainly as Python can say them: what the kernels are checked against."""

import re
import unicodedata
from collections import Counter
from itertools import groupby

import numpy as np

from tamis.scorers.kernels import characters as bits
from tamis.scorers.statistics.english_words import _UNITS, exceptions
from tamis.scorers.text.characters import character_classes

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
UNSPACED = re.compile(
    "[\u0e01-\u0e5b\u0e81-\u0edf\u1000-\u109f\u1780-\u17dd\u3005-\u3007\u3041-\u309f\u30a0-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9fe\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f"
    "\U00020000-\U000323af]"
)
BULLETS = tuple("-*•‣▪▫■□▶◀◦●○∙⁃·⁌⁍◘⦾⦿")


def has(character, bit):
    return bool(character_classes()[ord(character)] & bit)


def is_terminal(character):
    return has(character, bits.TERMINAL)


def is_closer(character):
    return unicodedata.category(character) in ("Pe", "Pf") or character in "\"'"


def ratio(part, whole):
    return part / whole if whole else 0.0


# ------------------------------------------------------------------------------------------ the papers' definitions


def words_of(text):
    found = []
    for chunk in text.split():
        word, unspaced = "", False
        for character in chunk:
            alone = bool(UNSPACED.match(character)) and character.isalpha()
            mark = unicodedata.category(character)[0] == "M"
            if word and (alone or (unspaced and not mark)):
                found.append(word)
                word = ""
            if not word:
                unspaced = alone
            word += character
        found.append(word)
    return found


def core(word):
    letters = [i for i, character in enumerate(word) if character.isalnum()]
    inner = word[letters[0] : letters[-1] + 1] if letters else ""
    return inner.lower() if inner.isascii() else ""


def repeated_share(things, chars):
    times = Counter(things)
    many = [i for i, thing in enumerate(things) if times[thing] > 1]
    return ratio(len(many), len(things)), ratio(sum(chars[i] for i in many), sum(chars))


def later_share(things, chars):
    """Return the share of things that were there before, and of their characters."""
    later = [i for i, thing in enumerate(things) if thing in things[:i]]
    return ratio(len(later), len(things)), ratio(sum(chars[i] for i in later), sum(chars))


def ends_terminal(line):
    return (stripped := line.rstrip("".join({c for c in line if is_closer(c) or c.isspace()}))) and (
        is_terminal(stripped[-1]) or stripped[-1] == "…"
    )


def ngram_share(words, order, top):
    grams = [tuple(words[i : i + order]) for i in range(len(words) - order + 1)]
    times = Counter(grams)
    repeated = {gram for gram, count in times.items() if count > 1}
    if top and repeated:
        repeated = {max(repeated, key=lambda g: (times[g], sum(map(len, g)), -grams.index(g)))}
    covered = {i + k for i, gram in enumerate(grams) if gram in repeated for k in range(order)}
    return ratio(sum(len(words[i]) for i in covered), sum(map(len, words)))


def later_ngram_share(words, order):
    grams = [tuple(words[i : i + order]) for i in range(len(words) - order + 1)]
    covered = {i + k for i, gram in enumerate(grams) if gram in grams[:i] for k in range(order)}
    return ratio(sum(len(words[i]) for i in covered), sum(map(len, words)))


def paper_statistics(text, *, spaced=False):
    words = words_of(text)
    solid = [character for character in text if not character.isspace()]
    paragraphs = [
        list(group) for filled, group in groupby(text.splitlines(), key=lambda line: bool(line.strip())) if filled
    ]
    lines = [line.strip() for paragraph in paragraphs for line in paragraph]
    as_words = [tuple(words_of(line)) for line in lines]
    paragraphs_as_words = [tuple(tuple(words_of(line)) for line in paragraph) for paragraph in paragraphs]
    line_chars = [sum(map(len, line)) for line in as_words]
    paragraph_chars = [sum(len(word) for line in paragraph for word in line) for paragraph in paragraphs_as_words]
    same_lines, same_line_chars = repeated_share(as_words, line_chars)
    same_paragraphs, same_paragraph_chars = repeated_share(paragraphs_as_words, paragraph_chars)
    ellipses = sum(word.count("…") + len(re.findall(r"\.{3,}", word)) for word in words)
    run = r"\.(?:\s?\.){2,}" if spaced else r"\.{3,}"
    if spaced:
        ellipses = text.count("…") + sum(len(re.findall(run, line)) for line in text.splitlines())
    later_lines, later_line_chars = later_share(as_words, line_chars)
    later_paragraphs, later_paragraph_chars = later_share(paragraphs_as_words, paragraph_chars)
    letters = sum(character.isalpha() for character in text)
    found = {
        "characters": len(text),
        "words": len(words),
        "mean_word_length": ratio(len(solid), len(words)),
        "longest_word": max(map(len, words), default=0),
        "alphabetic_word_fraction": ratio(sum(any(c.isalpha() for c in word) for word in words), len(words)),
        "stop_words": len(STOP_WORDS & {core(word) for word in words}),
        "hash_word_ratio": ratio(text.count("#"), len(words)),
        "ellipsis_word_ratio": ratio(ellipses, len(words)),
        "uppercase_fraction": ratio(sum(c.isupper() for c in text), max(letters, 1)),
        "digit_fraction": ratio(sum(c.isdecimal() for c in text), len(solid)),
        "punctuation_fraction": ratio(sum(unicodedata.category(c)[0] == "P" for c in text), len(solid)),
        "lines": len(lines),
        "paragraphs": len(paragraphs),
        "bullet_line_fraction": ratio(sum(line.startswith(BULLETS) for line in lines), len(lines)),
        "ellipsis_line_fraction": ratio(
            sum(line.endswith("…") or bool(re.search(rf"{run}\Z", line)) for line in lines), len(lines)
        ),
        "terminal_line_fraction": ratio(sum(bool(ends_terminal(line)) for line in lines), len(lines)),
        "short_line_fraction": ratio(sum(len(line) < 30 for line in lines), len(lines)),
        "duplicate_line_fraction": same_lines,
        "duplicate_line_char_fraction": same_line_chars,
        "duplicate_paragraph_fraction": same_paragraphs,
        "duplicate_paragraph_char_fraction": same_paragraph_chars,
    }
    for order in range(2, 11):
        kind = "top" if order < 5 else "duplicate"
        found[f"{kind}_{order}_gram_char_fraction"] = ngram_share(words, order, order < 5)
    found |= {
        "repeat_line_fraction": later_lines,
        "repeat_line_char_fraction": later_line_chars,
        "repeat_paragraph_fraction": later_paragraphs,
        "repeat_paragraph_char_fraction": later_paragraph_chars,
    }
    for order in range(5, 11):
        found[f"repeat_{order}_gram_char_fraction"] = later_ngram_share(words, order)
    return {f"text_{name}": value for name, value in found.items()}


# ------------------------------------------------------------------------------------------------------------- C4

CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def c4_page(text, variant):
    """Return the lines kept, and which of lorem ipsum and a curly bracket drops the page first, if any."""
    paper = variant == "paper"
    kept, first = [], None
    for line in text.splitlines():
        line = line.strip()  # noqa: PLW2901
        words = line.split()
        if not words or (not paper and any(len(word) > 1000 for word in words)):
            continue
        clean = CITATION.sub("", line)
        if paper:
            clean = clean.lstrip(" ").rstrip()
        ends = (".", "?", "!", '"', "”") if paper else (".", "?", "!", '"', "'")
        if variant != "datatrove_fineweb" and (not clean.endswith(ends) or clean.endswith("...")):
            continue
        if len(words) < (5 if paper else 3):
            continue
        lower = clean.lower()
        if first is None and "lorem ipsum" in lower:
            first = "lorem_ipsum"
        if "javascript" in lower:
            continue
        if first is None and "{" in clean:
            first = "curly_bracket"
        if any(policy in lower for policy in POLICIES):
            continue
        kept.append(clean)
    return kept, first


def paper_sentences(line):
    total, i, open_sentence = 0, 0, False
    while i < len(line):
        if is_terminal(line[i]) or line[i] == "…":
            j = i
            while j < len(line) and (is_terminal(line[j]) or line[j] == "…" or is_closer(line[j])):
                j += 1
            wide = any(ord(c) >= 0x80 and (is_terminal(c) or c == "…") for c in line[i:j])
            if j == len(line) or wide or line[j].isspace():
                total += 1
                open_sentence = False
            else:
                open_sentence = True
            i = j
            continue
        open_sentence = open_sentence or not line[i].isspace()
        i += 1
    return total + open_sentence


# ----------------------------------------------------------------------- English words, by regular expressions


def character_class(bit):
    points = np.flatnonzero(character_classes() & bit)
    cuts = np.flatnonzero(np.diff(points) > 1)
    starts, ends = [points[0], *points[cuts + 1]], [*points[cuts], points[-1]]
    return "".join(f"\\U{start:08x}-\\U{end:08x}" for start, end in zip(starts, ends, strict=True))


class EnglishTwin:
    """spaCy's algorithm with regular expressions built from our table."""

    def __init__(self):
        a, lower, upper = (character_class(bit) for bit in (bits.EN_ALPHA, bits.EN_LOWER, bits.EN_UPPER))
        quote, icon = character_class(bits.EN_QUOTE), character_class(bits.EN_ICON)
        prefix, suffix = character_class(bits.EN_PREFIX), character_class(bits.EN_SUFFIX)
        before_stop, currency = character_class(bits.EN_STOP_AFTER), character_class(bits.EN_CURRENCY)
        units = "|".join(map(re.escape, _UNITS))
        self.prefix = re.compile(rf"[{prefix}]|\+(?![0-9])|\.\.+|US\$|C\$|A\$")
        self.suffix = re.compile(
            rf"[{suffix}]$|……$|\.\.+$|['’][sS]$|(?<=[0-9])\+$|(?<=[0-9])(?:[{currency}]|US\$|C\$|A\$)$"
            rf"|(?<=[0-9])(?:{units})$|(?<=°[FfCcKk])\.$|(?<=[{before_stop}])\.$|(?<=[{upper}][{upper}])\.$"
        )
        self.infix = re.compile(
            rf"\.\.+|…|[{icon}]|(?<=[0-9])[+\-*^](?=[0-9-])|(?<=[{lower}{quote}])\.(?=[{upper}{quote}])"
            rf"|(?<=[{a}]),(?=[{a}])|(?<=[{a}0-9])(?:-|–|—|--|---|——|~)(?=[{a}])|(?<=[{a}0-9])[:<>=/](?=[{a}])"
        )
        number = r"(?:1?\d{1,2}|2[0-4]\d|25[0-5])"
        letter = r"[A-Za-z0-9\u00a1-\uffff]"
        self.url = re.compile(
            r"(?:[\w+\-.]{2,}://)?(?:\S+(?::\S*)?@)?"
            r"(?:(?!(?:10|127)(?:\.\d{1,3}){3})(?!(?:169\.254|192\.168)(?:\.\d{1,3}){2})"
            r"(?!172\.(?:1[6-9]|2\d|3[0-1])(?:\.\d{1,3}){2})"
            rf"(?:[1-9]\d?|1\d\d|2[01]\d|22[0-3])(?:\.{number}){{2}}(?:\.(?:[1-9]\d?|1\d\d|2[0-4]\d|25[0-4]))"
            rf"|(?:(?:{letter}[A-Za-z0-9\u00a1-\uffff_-]{{0,62}})?{letter}\.)+[{lower}]{{2,63}})"
            r"(?::\d{2,5})?(?:[/?#]\S*)?$"
        )
        self.exceptions = exceptions()
        self.joined = {text: self.chunk(text, {}) for text in self.exceptions}

    def chunk(self, text, known):
        front, back, last = [], [], -1
        while text and len(text) != last and text not in known:
            last = len(text)
            match = self.prefix.match(text)
            prefix = match.group() if match else ""
            rest = text[len(prefix) :]
            if prefix and rest in known:
                front.append(prefix)
                text = rest
                break
            match = self.suffix.search(rest)
            suffix = match.group() if match else ""
            if suffix and text[: -len(suffix)] in known:
                back.append(suffix)
                text = text[: -len(suffix)]
                break
            if prefix:
                front.append(prefix)
            if suffix:
                back.append(suffix)
            text = rest[: len(rest) - len(suffix)]
        middle = []
        if text in known:
            middle = list(known[text])
        elif text and self.url.match(text):
            middle = [text]
        elif text:
            start = 0
            for match in self.infix.finditer(text):
                if match.start() == 0:
                    continue
                middle += [text[start : match.start()], match.group()]
                start = match.end()
            middle = [word for word in [*middle, text[start:]] if word]
        return front + middle + back[::-1]

    def join(self, words):
        spans = []
        for i in range(len(words)):
            for j in range(i + 2, min(i + 13, len(words) + 1)):
                text = "".join(words[i:j])
                if self.joined.get(text) == words[i:j]:
                    spans.append((i, j, text))
        seen, chosen = set(), {}
        for i, j, text in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
            if i not in seen and j - 1 not in seen:
                chosen[i] = (j, text)
            seen |= set(range(i, j))
        found, i = [], 0
        while i < len(words):
            if i in chosen:
                i, text = chosen[i]
                found += self.exceptions[text]
            else:
                found.append(words[i])
                i += 1
        return found

    def words(self, text):
        return [word for chunk in text.split() for word in self.join(self.chunk(chunk, self.exceptions))]

    def sentences(self, line):
        """spaCy's sentencizer, for which white space beyond the one blank after a word is a word too."""
        words = []
        for match in re.finditer(r"\s+|\S+", line):
            run = match.group()
            if not run.isspace():
                words += self.join(self.chunk(run, self.exceptions))
            elif match.start() == 0 or run[0] != " " or len(run) > 1:
                words.append(run)
        total, ended = int(bool(words)), False
        for word in words:
            if len(word) == 1 and has(word, bits.SENTENCE_END):
                ended = True
            elif ended and not all(unicodedata.category(c)[0] == "P" for c in word):
                total += 1
                ended = False
        return total


# --------------------------------------------------------------------------------------- datatrove's definitions


def again(things):
    seen, many, chars = set(), 0, 0
    for thing in things:
        many += thing in seen
        chars += len(thing) if thing in seen else 0
        seen.add(thing)
    return many, chars


def datatrove_statistics(text, words):
    lines = text.splitlines()
    symbols = character_classes()
    real = [word for word in words if any(not symbols[ord(c)] & bits.SYMBOL for c in word)]
    paragraphs = re.split(r"\n{2,}", text.strip())
    blocks = re.split(r"\n+", text)
    filled = [line for line in text.split("\n") if line.strip()]
    same_paragraphs, same_paragraph_chars = again(paragraphs)
    same_lines, same_line_chars = again(blocks)
    found = {
        "characters": len(text),
        "bullet_line_fraction": ratio(sum(line.lstrip().startswith(("•", "-")) for line in lines), len(lines)),
        "ellipsis_line_fraction": ratio(sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)),
        "duplicate_paragraph_fraction": same_paragraphs / len(paragraphs),
        "duplicate_paragraph_char_fraction": ratio(same_paragraph_chars, len(text)),
        "duplicate_line_fraction": same_lines / len(blocks),
        "duplicate_line_char_fraction": ratio(same_line_chars, len(text)),
        "fineweb_lines": len(filled),
        "fineweb_terminal_line_fraction": ratio(sum(is_terminal(line[-1]) for line in filled), len(filled)),
        "fineweb_short_line_fraction": ratio(sum(len(line) <= 30 for line in filled), len(filled)),
        "fineweb_duplicate_line_char_fraction": ratio(again(filled)[1], len(text.replace("\n", ""))),
        "tokens": len(words),
        "words": len(real),
        "mean_word_length": ratio(sum(map(len, real)), len(real)),
        "alphabetic_token_fraction": ratio(sum(any(c.isalpha() for c in word) for word in words), len(words)),
        "stop_words": len(STOP_WORDS & set(words)),
        "hash_token_ratio": text.count("#") / max(len(words), 1),
        "ellipsis_token_ratio": (text.count("...") + text.count("…")) / max(len(words), 1),
        "fineweb_newline_token_ratio": text.count("\n") / max(len(words), 1),
    }
    for order in (2, 3, 4):
        grams = [" ".join(words[i : i + order]) for i in range(len(words) - order + 1)]
        gram, times = Counter(grams).most_common(1)[0] if grams else ("", 0)
        found[f"top_{order}_gram_char_fraction"] = ratio(len(gram) * times, len(text))
    for order in range(5, 11):
        seen, repeated, i = set(), 0, 0
        while i < len(words) - order + 1:
            gram = "".join(words[i : i + order])
            repeated += len(gram) if gram in seen else 0
            i += order if gram in seen else 1
            seen.add(gram)
        found[f"duplicate_{order}_gram_char_fraction"] = ratio(repeated, len(text))
    return {f"text_datatrove_{name}": value for name, value in found.items()}
