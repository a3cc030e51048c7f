"""Perplexity correlations: which texts have losses that go with benchmark scores across models (arXiv:2409.05816).

For each domain (or document) the correlation of the models' losses on it with their errors on a benchmark is an
estimate that ranks domains as the weights of the best linear predictor do; the mixture that follows it, and takes no
domain beyond what it has, is a projection. The input is the matrix that predictive strength takes as well
(`tamis.scorers.preselect.predictive_strength`).

Ties: the published code gives equal losses different ranks by position; here they share the mean rank.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.simplex import Vector

__all__ = ["Estimator", "correlations", "project"]

Estimator = Literal["spearman", "sign_cdf", "sign_sign"]


def correlations(losses: npt.ArrayLike, benchmark: npt.ArrayLike, *, estimator: Estimator = "spearman") -> Vector:
    """Return the estimate of each domain, shape (domains,): large where better models have lower losses.

    * `spearman`: the rank correlation of losses and benchmark errors;
    * `sign_cdf`: the mean over pairs of models of sign(y_g - y_k) (F(x_g) - F(x_k)), F the empirical distribution of
      the domain's losses and y the error;
    * `sign_sign`: the same with sign(x_g - x_k).

    Args:
        losses: bits per character, shape (domains, models); a domain with a NaN gets NaN.
        benchmark: scores of the models, higher is better, shape (models,).
        estimator: see above.

    Raises:
        DataError: if shapes don't fit, there are fewer than two models, or a score isn't finite.
    """
    from scipy.stats import rankdata

    x, y = np.asarray(losses, np.float64), -np.asarray(benchmark, np.float64)
    if x.ndim != 2 or y.ndim != 1 or x.shape[1] != len(y) or len(y) < 2 or not np.isfinite(y).all():
        msg = f"losses of shape {x.shape} need a finite score for each model, at least two; got shape {y.shape}"
        raise DataError(msg)
    n = len(y)
    missing = np.asarray(np.isnan(x).any(axis=1))
    x = np.where(missing[:, None], 0.0, x)
    if estimator == "sign_sign":
        order = np.sign(y[:, None] - y[None, :])
        result = np.array([(order * np.sign(row[:, None] - row[None, :])).sum() for row in x]).reshape(len(x))
        result /= n * (n - 1)
    else:
        ranks = rankdata(x, axis=1)
        if estimator == "sign_cdf":
            # sum over pairs of sign(y_g - y_k) (r_g - r_k) = 2 sum_g r_g sum_k sign(y_g - y_k)
            signs = np.sign(y[:, None] - y[None, :]).sum(axis=1)
            result = 2 * (ranks / n) @ signs / (n * (n - 1))
        else:
            a, b = ranks - ranks.mean(axis=1, keepdims=True), rankdata(y) - (n + 1) / 2
            scale = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum())
            result = np.divide(a @ b, scale, out=np.zeros(len(x)), where=scale > 0)
    return np.where(missing, np.nan, result)


def project(estimate: npt.ArrayLike, caps: npt.ArrayLike, *, method: Literal["linear", "l2"] = "linear") -> Vector:
    """Return the mixture nearest to an estimate under caps.

    * `linear`: the largest inner product: domains in falling order, each as far as its cap goes (ties to the earlier);
    * `l2`: the nearest point, `clip(estimate + c, 0, cap)` with the c that makes it add to 1.

    Args:
        estimate: shape (domains,); NaN gets nothing.
        caps: largest shares, above 0, such as tokens there are by tokens trained on.
        method: see above.

    Raises:
        ConfigError: if caps don't fit, aren't above 0, or add to less than 1.
    """
    value, cap = np.asarray(estimate, np.float64), np.asarray(caps, np.float64)
    if value.shape != cap.shape or value.ndim != 1 or not (cap > 0).all():
        msg = f"caps must be numbers above 0, one for each of {len(value)} domains"
        raise ConfigError(msg)
    measured = ~np.isnan(value)
    cap = np.where(measured, np.minimum(cap, 1.0), 0.0)
    if cap.sum() < 1 - 1e-12:
        msg = f"the caps of the measured domains add to {cap.sum():.6g}: they can't fill a mixture; train on less"
        raise ConfigError(msg)
    value = np.where(measured, value, -np.inf)
    if method == "linear":
        order = np.argsort(-value, kind="stable")
        filled = np.minimum(np.cumsum(cap[order]), 1.0)
        shares = np.zeros(len(value))
        shares[order] = np.diff(filled, prepend=0.0)
        return shares
    if cap.sum() <= 1 + 1e-12:
        return np.asarray(cap / cap.sum())
    finite = value[measured]
    low, high = -float(finite.max()), float((cap[measured] - finite).max())
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if np.clip(value + middle, 0.0, cap).sum() > 1 else (middle, high)
    shares = np.clip(value + low, 0.0, cap)
    return np.asarray(shares / shares.sum())
