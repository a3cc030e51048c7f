import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.embeddings.kmeans import Clustering, ClusterSums, fit_clusters, in_minibatch, row_ids
from tamis.scorers.embeddings.kmeans_start import start_spread
from tamis.scorers.embeddings.vectors import as_column, unit_rows


def start_at_rows(matrix, rows, *, normalise=True):
    chosen = np.asarray(matrix)[list(rows)].astype(np.float64)
    return Clustering(unit_rows(chosen) if normalise else chosen, normalise=normalise)


def lloyd(matrix, centroids, rounds):
    """K-means as in a textbook, without a kernel and without whole numbers."""
    for _ in range(rounds):
        distances = ((matrix[:, None, :] - centroids[None]) ** 2).sum(axis=2)
        labels = distances.argmin(axis=1)
        for cluster in range(len(centroids)):
            if (labels == cluster).any():
                centroids[cluster] = matrix[labels == cluster].mean(axis=0)
    return centroids


def points(rows=200, dimensions=6, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)


@pytest.mark.parametrize(("normalise", "tolerance"), [(False, 1e-13), (True, 2e-8)])
def test_golden(golden, normalise, tolerance):
    case = json.loads((golden / "quad_kmeans.json").read_text())
    matrix, seen = np.array(case["X"]), []
    start = start_at_rows(matrix, case["init_rows"], normalise=normalise)
    end = fit_clusters(matrix, start, watch=lambda _, found: seen.append(found))
    assert [found.clusters.tolist() for found in seen] == [entry["assign"] for entry in case["iterations"]]
    inertia = [found.distances.sum() for found in seen]
    np.testing.assert_allclose(inertia, [entry["inertia"] for entry in case["iterations"]], atol=tolerance)
    np.testing.assert_allclose(end.centroids, case["centroids"], atol=1e-9)
    assert end.inertia == pytest.approx(inertia[-2])
    np.testing.assert_allclose(end.cosine_distances(), case["cosine_distance"], atol=1e-8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clusters", [1, 3, 70])
def test_equals_textbook(dtype, clusters):
    matrix = unit_rows(points(300).astype(dtype))
    start = start_at_rows(matrix, list(range(clusters)))
    end = fit_clusters(matrix, start, rounds=6)
    np.testing.assert_allclose(end.centroids, lloyd(matrix.astype(float), start.centroids.copy(), 6), atol=1e-6)


@given(st.integers(0, 1000), st.lists(st.integers(0, 59), min_size=0, max_size=5), st.booleans())
def test_sharding_and_order_change_no_bit(seed, cuts, farthest):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(60, 5)).astype(np.float32)
    matrix[rng.integers(0, 60, 20)] = matrix[0]
    ids = row_ids(60)
    clustering = start_at_rows(matrix, [0, 1, 2, 3, 0, 1])
    whole, _ = ClusterSums.of(clustering, matrix, ids)
    order = rng.permutation(60)
    shards = np.split(order, sorted(cuts))
    parts = [ClusterSums.of(clustering, matrix[shard], ids[shard])[0] for shard in shards]
    parts = [ClusterSums.from_bytes(part.to_bytes()) for part in parts]
    left = parts[0]
    for part in parts[1:]:
        left = ClusterSums.merge([part, left])
    assert left.to_bytes() == ClusterSums.merge(parts).to_bytes() == whole.to_bytes()
    empty = "farthest" if farthest else "keep"
    assert clustering.moved(left, empty=empty).to_json() == clustering.moved(whole, empty=empty).to_json()


@given(st.integers(0, 1000))
def test_fit_does_not_depend_on_order(seed):
    rng = np.random.default_rng(seed)
    matrix, ids = points(80, seed=seed), rng.integers(0, 2**63, (80, 2)).astype(np.uint64)
    order = rng.permutation(80)
    for share in (1.0, 0.3):
        found = []
        for rows in (np.arange(80), order):
            start = start_spread(matrix[rows], 7, ids=ids[rows], seed=seed)
            end = fit_clusters(matrix[rows], start, ids=ids[rows], share=share, rounds=5, seed=seed, empty="farthest")
            found.append(json.dumps(end.to_json()))
        assert found[0] == found[1]


def test_sums_are_exact():
    matrix = np.array([[1.0, 2.0**-50], [-1.0, 2.0**-52], [1 / 3, -(2.0**-51)]])
    clustering = Clustering(np.zeros((1, 2)), normalise=False)
    sums, _ = ClusterSums.of(clustering, matrix)
    np.testing.assert_allclose(sums.sums, [[1 / 3, 3 * 2.0**-52]], rtol=1e-15)
    many = ClusterSums.merge([sums] * 1000)
    np.testing.assert_array_equal(many.sums, [[many.sums[0, 0], 3000 * 2.0**-52]])
    assert many.counts.tolist() == [3000]


def test_ties_go_to_the_lower_cluster():
    clustering = Clustering(np.array([[1.0, 0], [0, 1], [1, 0]]), normalise=False)
    found = clustering.assign(np.array([[0.5, 0.5], [1, 0], [0, 1]]))
    assert found.clusters.tolist() == [0, 0, 1]


def test_more_clusters_than_a_tile_against_brute_force():
    matrix, centroids = points(50, 9).astype(float), points(200, 9, seed=1).astype(float)
    found = Clustering(centroids, normalise=False).assign(matrix)
    distances = ((matrix[:, None] - centroids[None]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(found.clusters, distances.argmin(axis=1))
    np.testing.assert_allclose(found.distances, distances.min(axis=1), rtol=1e-12)


def test_several_empty_clusters_take_different_vectors():
    matrix = np.vstack([np.tile([[1.0, 0, 0]], (30, 1)), np.eye(3), -np.eye(3)])
    start = Clustering(np.tile([[1.0, 0.0, 0.0]], (5, 1)))  # four empty at once
    once = fit_clusters(matrix, start, rounds=1, empty="farthest")
    assert len(np.unique(once.centroids, axis=0)) == 5
    end = fit_clusters(matrix, start, empty="farthest")
    assert len(set(end.assign(matrix).clusters.tolist())) == 5
    kept = fit_clusters(matrix, start, rounds=1)
    np.testing.assert_array_equal(kept.centroids[1:], start.centroids[1:])


def test_more_empty_clusters_than_distinct_vectors():
    matrix = np.array([[1.0, 0], [1, 0], [0, 1]])
    start = Clustering(np.tile([[1.0, 0.0]], (4, 1)))
    end = fit_clusters(matrix, start, empty="farthest")
    assert np.isfinite(end.centroids).all()
    assert len(set(end.assign(matrix).clusters.tolist())) == 2


def test_equal_vectors():
    matrix = np.tile([[0.6, 0.8]], (10, 1))
    end = fit_clusters(matrix, start_spread(matrix, 1))
    np.testing.assert_allclose(end.centroids, [[0.6, 0.8]], atol=1e-15)
    assert end.inertia < 1e-30
    with pytest.raises(DataError, match="3 clusters can't be made of the 1 distinct vectors there are: ask for 1"):
        start_spread(matrix, 3)


def test_more_clusters_than_vectors():
    matrix = points(5)
    assert start_spread(matrix, 5).clusters == 5
    with pytest.raises(DataError, match="6 clusters can't be made of the 5 distinct"):
        start_spread(matrix, 6)
    with pytest.raises(DataError, match="give documents with words"):
        start_spread(np.zeros((4, 2)), 1)
    with pytest.raises(DataError):
        start_spread(np.zeros((0, 2)), 1)


def test_zeros_are_in_no_cluster():
    matrix = np.vstack([points(20), np.zeros((2, 6), np.float32)])
    start = start_spread(matrix, 4)
    sums, found = ClusterSums.of(start, matrix, row_ids(22))
    assert found.clusters[-2:].tolist() == [-1, -1]
    assert sums.counts.sum() == 20
    assert fit_clusters(matrix, start).to_json() == fit_clusters(matrix[:20], start).to_json()


def test_what_cannot_be_clustered_is_told():
    matrix = points(5)
    matrix[3, 2] = np.nan
    start = start_spread(points(5), 2)
    for act in (lambda: start.assign(matrix), lambda: start_spread(matrix, 2), lambda: fit_clusters(matrix, start)):
        with pytest.raises(DataError, match="row 3 holds a number that isn't finite"):
            act()
    with pytest.raises(DataError, match="3 dimensions and the centroids 6"):
        start.assign(points(5, 3))
    with pytest.raises(DataError, match="no vectors"):
        ClusterSums.merge([])
    with pytest.raises(DataError, match="5 document ids and 4 vectors"):
        ClusterSums.of(start, points(4), row_ids(5))
    with pytest.raises(ConfigError):
        start_spread(points(5), 0)
    with pytest.raises(ConfigError):
        in_minibatch(row_ids(3), share=0.0, number=0)


def test_minibatches_are_running_means():
    matrix, start = unit_rows(points(400).astype(float)), start_spread(points(400), 3)
    end = fit_clusters(matrix, start, share=0.25, rounds=4, seed=5)
    centroids, weights = start.centroids.copy(), np.zeros(3)
    for number in range(4):
        chosen = matrix[in_minibatch(row_ids(400), share=0.25, number=number, seed=5)]
        labels = ((chosen[:, None] - centroids[None]) ** 2).sum(axis=2).argmin(axis=1)
        for cluster in range(3):
            mine = chosen[labels == cluster]
            if len(mine):
                total = centroids[cluster] * weights[cluster] + mine.sum(axis=0)
                weights[cluster] += len(mine)
                centroids[cluster] = total / weights[cluster]
    np.testing.assert_allclose(end.centroids, centroids, atol=1e-12)
    assert end.weights.tolist() == weights.tolist()
    assert 60 < in_minibatch(row_ids(400), share=0.25, number=0).sum() < 140


def test_spread_follows_squared_distances():
    """Of two far groups, the second centroid lies in the other one nearly always."""
    matrix = np.vstack([points(50) * 0.01 + 1, points(50, seed=1) * 0.01 - 1])
    ids = row_ids(100)
    hits = 0
    for seed in range(40):
        chosen = start_spread(matrix, 2, ids=ids, seed=seed, normalise=False).centroids[:, 0] > 0
        hits += chosen[0] != chosen[1]
    assert hits == 40


def test_state_is_json_and_keeps_every_bit():
    clustering = fit_clusters(points(), start_spread(points(), 5))
    again = Clustering.from_json(json.loads(json.dumps(clustering.to_json())))
    assert again.to_json() == clustering.to_json()
    np.testing.assert_array_equal(again.assign(points()).clusters, clustering.assign(as_column(points())).clusters)
    with pytest.raises(DataError, match="isn't a stored clustering"):
        Clustering.from_json({"centroids": "??"})


THREADS = """
import hashlib
import numpy as np
from tamis.scorers.embeddings.hashed import HashedEmbeddings
from tamis.scorers.embeddings.kmeans import fit_clusters
from tamis.scorers.embeddings.kmeans_start import start_spread

texts = [f"word{i % 7} word{i % 11} word{i % 13} common" for i in range(400)]
ids = [f"{i:032x}" for i in range(400)]
vectors = HashedEmbeddings(256, seed=3).vectors(texts)
found = fit_clusters(vectors, start_spread(vectors, 20, ids=ids, seed=1), ids=ids, rounds=5)
parts = (vectors, found.centroids, found.assign(vectors).clusters, found.cosine_distances())
print(hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest())
"""


def test_the_number_of_threads_changes_no_byte():
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    digests = set()
    for number in ("1", "4"):
        environment = os.environ | dict.fromkeys(names, number)
        command = [sys.executable, "-c", THREADS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1
