"""What datatrove's test of its PIIFormatter holds it to, by addresses of ours: where we agree, and where not."""

import pytest

from tamis.scorers.pii.detect import find_pii

SAME = {
    # public addresses alone, and whole ones
    "163.36.107.25": "163.36.107.25",
    "4.132.211.142": "4.132.211.142",
    "999.999.999.999.": None,
    "108.0.0.01": None,
    "0.1.2.3": None,
    "00.0000.00.00": None,
    "192.168.l.1": None,
    "912.456.123.123": None,
    "172.16.0.9": None,
    "172.31.254.254": None,
    "127.0.0.2": None,
    "10.255.255.254": None,
    "192.168.254.0": None,
    # e-mail
    "ann@example.org": "ann@example.org",
    "ann.lee@example.org": "ann.lee@example.org",
    "ann@mail.example.org": "ann@mail.example.org",
    "ann+lee@example.org": "ann+lee@example.org",
    "0123456789@example.org": "0123456789@example.org",
    "ann@example-one.org": "ann@example-one.org",
    "ann@example.name": "ann@example.name",
    "ann@example.museum": "ann@example.museum",
    "ann@example.co.jp": "ann@example.co.jp",
    "ann-lee@example.org": "ann-lee@example.org",
    "ANN@EXAMPLE.ORG": "ANN@EXAMPLE.ORG",
    '"ann"@example.org': None,
    "Ann Lee <ann@example.org>": "ann@example.org",
    "ann@example.org (Ann Lee)": "ann@example.org",
    ".ann@example.org": "ann@example.org",
    "ann@example.web": "ann@example.web",
    "just”not”right@example.org": "right@example.org",
    'odd\\ is"really"not\\allowed@example.org': "allowed@example.org",
    "plainaddress": None,
    "#@%^%#$@#$@#.org": None,
    "@example.org": None,
    "ann.example.org": None,
    "ann.@example.org": None,
    "漢字@example.org": None,
    "ann@example": None,
    "ann@-example.org": None,
    "ann@example..org": None,
    "”(),:;<>[\\]@example.org": None,
}
OTHERWISE = {
    # text: (what it masks, what we do)
    ".3.3.3.9": ("3.3.3.9", None),  # behind a dot: a part of a longer number, such as a version or a section
    "ann@163.36.107.25": ("ann@163.36.107.25", "163.36.107.25"),  # the address of a machine is what is personal
    "ann@[163.36.107.25]": ("ann@[163.36.107.25]", "163.36.107.25"),
    "_______@example.org": ("_______@example.org", None),  # a gap to fill in, nobody's name
    "ann@lee@example.org": ("lee@example.org", None),  # no addresses, and no pieces of them
    "ann..lee@example.org": ("lee@example.org", None),
    "ann@111.222.333.44444": ("ann@111.222.333.44444", None),
}


def first(text):
    spans = find_pii([text], ["email", "ip"])
    data = text.encode()
    found = [data[start:end].decode() for start, end in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True)]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize("text", SAME)
def test_where_we_agree(text):
    assert first(text) == SAME[text]


@pytest.mark.parametrize("text", OTHERWISE)
def test_where_we_differ(text):
    theirs, ours = OTHERWISE[text]
    assert first(text) == ours != theirs
