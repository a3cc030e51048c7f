import pytest

from tamis.schemas.errors import ConfigError
from tamis.scorers.influence.bandit import BanditOptions, ScoreTable, clusters_view, play
from tamis.scorers.influence.plot import plot_clusters

pytest.importorskip("matplotlib")


def view(clusters=3, titles=None):
    table = ScoreTable([5] * clusters, {i: dict.fromkeys(range(5), float(i - 1)) for i in range(clusters - 1)})
    options = BanditOptions(budget=4, probe=2, per_round=2, rounds=1)
    return clusters_view(table, options, play(table, options), titles)


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_same_bytes_for_the_same_data(tmp_path, ending):
    one, other = tmp_path / f"one{ending}", tmp_path / f"other{ending}"
    for path in (one, other):
        plot_clusters(view(titles=["costs $5 and $6", "naïve", "unscored"]), path, tau=0.5, title="clusters")
    assert one.read_bytes() == other.read_bytes()
    assert one.stat().st_size > 1000


def test_titles_are_shown_where_they_fit(tmp_path):
    plot_clusters(view(4, ["apples", "pears", "plums", "unscored"]), tmp_path / "few.svg")
    shown = (tmp_path / "few.svg").read_text()
    assert "apples" in shown
    assert "unscored" not in shown
    plot_clusters(view(60), tmp_path / "many.svg")
    assert "59 clusters" in (tmp_path / "many.svg").read_text()
    plot_clusters(view(1), tmp_path / "nothing.png")


def test_other_endings(tmp_path):
    with pytest.raises(ConfigError, match=r"\.png or \.svg"):
        plot_clusters(view(), tmp_path / "a.pdf")
