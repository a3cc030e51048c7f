"""Personal data: the labelled set exactly, checks by other means, masks, and results that texts alone decide."""

import ipaddress
import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError
from tamis.scorers.pii.detect import find_pii
from tamis.scorers.pii.kinds import KINDS
from tamis.scorers.pii.mask import DEFAULT_MASKS, Masker
from tests.scorers.pii.labelled import labelled

PIECES = st.one_of(
    st.sampled_from(
        ["@", "a.b", "bob@x.org", "8.8.8.8", "4111 1111 1111 1111", "+1 415 555 2671", "DE89370400440532013000", "::",
         "\n", "2001:4860::8888", "-", ".", "(", ")", "0", "12", "415-555-", "tel ", "gh" + "p_", "eyJ", "-----BEGIN ",
         " ",
    "/", "é", "漢"] ), st.text(max_size=4),
)  # fmt: skip
TEXTS = st.lists(st.lists(PIECES, max_size=8).map("".join), max_size=6)


def found(texts, *kinds):
    """What was found in each text."""
    out = [[] for _ in texts]
    spans = find_pii(texts, kinds or KINDS)
    for text, start, end, kind in zip(*(column.tolist() for column in spans), strict=True):
        out[text].append((KINDS[kind], start, end))
    return out


def values(text, *kinds):
    data = text.encode()
    return [data[start:end].decode() for _, start, end in found([text], *kinds)[0]]


def test_labelled_set_is_large_enough():
    counts = Counter(kind for _, spans in labelled() for kind, _, _ in spans)
    assert sum(counts.values()) >= 300
    assert all(counts[kind] >= 25 for kind in KINDS)


@pytest.mark.parametrize(("text", "spans"), labelled())
def test_labelled_texts(text, spans):
    assert found([text])[0] == spans


def test_a_batch_is_its_texts():
    texts = [text for text, _ in labelled()]
    assert found(texts) == [spans for _, spans in labelled()]
    array = pa.array(["x", *texts], pa.large_string()).slice(1)
    assert found(array) == [spans for _, spans in labelled()]


@given(TEXTS)
def test_texts_alone_decide(texts):
    together = found(texts)
    assert together == [found([text])[0] for text in texts]
    for text, spans in zip(texts, together, strict=True):
        data = text.encode()
        ends = [0, *(end for _, _, end in spans)]
        starts = [start for _, start, _ in spans]
        assert all(start >= before for start, before in zip(starts, ends, strict=False))  # in order, none overlap
        for _, start, end in spans:
            data[start:end].decode()  # whole characters


@given(TEXTS, st.sampled_from(KINDS))
def test_one_kind_alone_is_never_less(texts, kind):
    """Other kinds only take places away."""
    for alone, all_of_them in zip(found(texts, kind), found(texts), strict=True):
        assert {span for span in all_of_them if span[0] == kind} <= set(alone)


@given(st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_addresses_are_those_that_are_reachable(octets):
    text = ".".join(map(str, octets))
    address = ipaddress.ip_address(text)
    if octets == [192, 0, 0, octets[3]] or octets[:3] == [192, 88, 99]:
        return  # registries of different years disagree
    assert values(f"at <{text}> now", "ip") == ([text] if address.is_global and not address.is_multicast else [])


def luhn(number):
    digits = [int(d) for d in reversed(number)]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def test_a_card_needs_its_check_digit():
    draw = random.Random(4)
    for _ in range(300):
        number = "4" + "".join(str(draw.randrange(10)) for _ in range(15))
        shown = draw.choice([number, " ".join(number[i : i + 4] for i in range(0, 16, 4))])
        assert values(f"n {shown}.", "card") == ([shown] if luhn(number) else [])


def test_an_account_needs_its_check_digits():
    for wrong in range(100):
        account = f"DE{wrong:02d}370400440532013000"
        assert values(account, "iban") == ([account] if wrong == 89 else [])


def test_long_and_repetitive_texts():
    pieces = ["@", "a@", "1.", "4111 ", "0", ":", "::", "1:", "-----BEGIN ", "+1 ", "(", "eyJ", "a.b@", "DE89 ", "sk-"]
    for piece in pieces:
        assert len(found([piece * (300_000 // len(piece))])) == 1


def test_masks():
    text = "Mail Bob@Example.com or bob@example.com, call +1 415 555 2671 or +14155552671; 8.8.8.8,"
    text += " é DE89370400440532013000"
    spans = find_pii([text])
    masked = Masker(7).apply([text], spans)[0].as_py()
    assert Masker(7).apply([text], spans)[0].as_py() == masked
    first, second = [part for part in masked.replace(",", "").split() if "@" in part]
    assert first == second
    assert first in DEFAULT_MASKS["email"]
    assert "é <IBAN>" in masked
    assert "8.8.8.8" not in masked
    phones = [masked.split("call ")[1].split(" or")[0], masked.split(" or ")[2].split(";")[0]]
    assert phones[0] == phones[1]
    assert phones[0] in DEFAULT_MASKS["phone"]
    others = {Masker(seed).apply([text], spans)[0].as_py() for seed in range(12)}
    assert len(others) > 3
    own = Masker(masks={"email": ("|||EMAIL|||",)})
    assert own.apply([text], spans)[0].as_py().count("|||EMAIL|||") == 2


@given(TEXTS)
def test_masked_texts_are_the_pieces_between(texts):
    spans = find_pii(texts)
    masker = Masker(1)
    got = masker.apply(texts, spans).to_pylist()
    for text, findings, masked in zip(texts, found(texts), got, strict=True):
        data = text.encode()
        for kind, start, end in reversed(findings):
            data = data[:start] + masker.mask(KINDS.index(kind), data[start:end]) + data[end:]
        assert masked == data.decode()


def test_counts():
    spans = find_pii(["a@b.co c@d.co", "", "8.8.8.8"])
    counts = spans.counts(3)
    assert counts["email"].tolist() == [2, 0, 0]
    assert counts["ip"].tolist() == [0, 0, 1]
    assert counts["key"].tolist() == [0, 0, 0]
    assert np.array_equal(find_pii([]).texts, np.zeros(0, np.int64))


def test_wrong_options_are_named():
    with pytest.raises(ConfigError, match="face"):
        find_pii(["a"], ["face"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="ip"):
        Masker(masks={"ip": ()})
