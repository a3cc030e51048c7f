"""Credentials never come out of addresses; all else stays as it is."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import DamagedError, InputError, TamisError
from tamis.schemas.secrets import redacted, redacted_all

AMAZON = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F2026&X-Amz-Date=2026&X-Amz-Security-Token=t0k"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:word@h.example/x.jsonl", "https://***@h.example/x.jsonl"),
        ("https://me@h.example/x.jsonl", "https://***@h.example/x.jsonl"),
        ("ftp://me:w%40rd@h/x", "ftp://***@h/x"),
        ("s3://KEY:SECRET@bucket/x", "s3://***@bucket/x"),
        (
            f"https://h/x?{AMAZON}&X-Amz-Signature=abc",
            "https://h/x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=***&X-Amz-Date=2026"
            "&X-Amz-Security-Token=***&X-Amz-Signature=***",
        ),
        ("https://h/x?X-Goog-Signature=abc&page=2", "https://h/x?X-Goog-Signature=***&page=2"),
        ("https://h/x?jwt=a.b&sas=c&page=2", "https://h/x?jwt=***&sas=***&page=2"),
        ("https://h/x?sv=2022&sig=a%2Bb&se=2026", "https://h/x?sv=2022&sig=***&se=2026"),
        ("https://h/x?AWSAccessKeyId=A&Signature=b&Exp=1", "https://h/x?AWSAccessKeyId=***&Signature=***&Exp=1"),
        ("https://h/x?token=a&access_token=b&apikey=c", "https://h/x?token=***&access_token=***&apikey=***"),
        ("https://h/x?api_key=d:e", "https://h/x?api_key=***"),
        ("https://me:wo@rd@h/x", "https://***@h/x"),
        ("https://h/x#access_token=b", "https://h/x#access_token=***"),
        ("https://h/x?Policy=p&Key-Pair-Id=k", "https://h/x?Policy=***&Key-Pair-Id=***"),
        ("https://h/x?q=1#sha256=00ff", "https://h/x?q=1#sha256=00ff"),
        ("abfs://container@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
        ("hf://datasets/org/name@main/x", "hf://datasets/org/name@main/x"),
        ("https://h/~me@home/x?monkey=1&design=2", "https://h/~me@home/x?monkey=1&design=2"),
        ("data/x.jsonl: me@h.example", "data/x.jsonl: me@h.example"),
    ],
)
def test_what_is_taken_out(address: str, shown: str) -> None:
    assert redacted(address) == shown
    assert redacted(f"{address} can't be read: GET '{address}', and {address}: 403") == (
        f"{shown} can't be read: GET '{shown}', and {shown}: 403"
    )
    assert redacted_all({"a": [address, {"b": (address, 1, None)}]}) == {"a": [shown, {"b": (shown, 1, None)}]}
    assert str(InputError(f"{address}: no")) == f"{shown}: no"


@given(st.text(alphabet="ab:/@?&=#.~%-_ ", max_size=40))
def test_it_is_idempotent(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once


def test_errors_travel_without_credentials() -> None:
    error = pickle.loads(pickle.dumps(TamisError("https://a:b@h/x?sig=1")))
    assert str(error) == "https://***@h/x?sig=***"
    damaged = pickle.loads(pickle.dumps(DamagedError("work/x", "short")))
    assert (damaged.path, damaged.why, str(damaged)) == ("work/x", "short", "work/x is damaged (short)")
