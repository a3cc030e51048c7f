"""Values are joined in levels: the same bytes in the same order, each copied a few times however many there are."""

from tamis.pipeline.graph.passes import FOLD, Spent, fold_value, folded, pack_value, unpack_value


def test_order_and_costs_are_kept_and_copies_stay_few():
    copied = 0

    def combine(parts):
        nonlocal copied
        copied += sum(map(len, parts))
        return b"".join(parts)

    number = FOLD * FOLD + FOLD + 3
    levels = []
    for i in range(number):
        fold_value(combine, levels, pack_value(i.to_bytes(4, "big"), Spent(1, 0.5)))
    assert [len(level) for level in levels] == [3, 1, 1]
    value, spent = unpack_value(folded(combine, levels))
    assert value == b"".join(i.to_bytes(4, "big") for i in range(number))
    assert spent == Spent(number, number / 2)
    assert copied <= 3 * len(value)


def test_nothing_is_nothing():
    assert unpack_value(folded(b"".join, [])) == (b"", Spent())
