"""Where k-means begins: given rows, or rows spread over a sample by k-means++.

K-means++ (Arthur and Vassilvitskii 2007) draws each next centroid with probability proportional to the squared distance
to those drawn before. Here the draw is the largest `ln(distance^2) + Gumbel noise`, the noise a keyed hash of document
id and step: it follows the same law, and does not depend on the order of the rows.
"""


import numpy as np

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.embeddings.kmeans import Clustering, row_ids
from tamis.scorers.embeddings.kmeans_kernels import squared_distances
from tamis.scorers.embeddings.vectors import Vectors, as_matrix, unit_rows
from tamis.scorers.kernels.portable_log import natural_logs
from tamis.scorers.text.noise import DocumentIds, gumbel_noise, id_words

__all__ = ["start_spread"]


def start_spread(
    vectors: Vectors, clusters: int, *, ids: DocumentIds | None = None, seed: int = 0, normalise: bool = True
) -> Clustering:
    """Return a clustering whose centroids are rows drawn by k-means++.

    Args:
        vectors: a sample of the pool's embeddings (rows, dimensions).
        clusters: how many are wanted.
        ids: of the documents; None: their row numbers.
        seed: of the draw.
        normalise: whether vectors are divided by their lengths; vectors of zeros are then left out.

    Raises:
        ConfigError: if `clusters` is below 1.
        DataError: if fewer than `clusters` of the vectors are distinct, or a number isn't finite.
    """
    if clusters < 1:
        msg = f"the number of clusters must be at least 1, got {clusters}"
        raise ConfigError(msg)
    matrix = as_matrix(vectors)
    words = row_ids(len(matrix)) if ids is None else id_words(ids)
    if len(words) != len(matrix):
        msg = f"there are {len(words)} document ids and {len(matrix)} vectors: give one id a vector"
        raise DataError(msg)
    if normalise:
        some = matrix.any(axis=1)
        matrix, words = unit_rows(matrix[some]), words[some]
    order = np.lexsort((words[:, 1], words[:, 0]))
    matrix, words = np.ascontiguousarray(matrix[order]), words[order]
    distances = np.full(len(matrix), np.inf)
    chosen: list[int] = []
    for step in range(clusters):
        noise = gumbel_noise(seed, f"kmeans-{step}", words)
        if step == 0:
            keys = noise
        else:
            keys = np.full(len(matrix), -np.inf)
            apart = distances > 0
            keys[apart] = natural_logs(distances[apart]) + noise[apart]
        if len(keys) == 0 or keys.max() == -np.inf:
            msg = (
                f"{clusters} clusters can't be made of the {len(chosen)} distinct vectors there are: "
                f"ask for {max(1, len(chosen))}" + ("" if chosen else ", and give documents with words")
            )
            raise DataError(msg)
        chosen.append(int(keys.argmax()))
        squared_distances(matrix, matrix[chosen[-1]].astype(np.float64), distances)
    return Clustering(matrix[chosen].astype(np.float64), normalise=normalise)
