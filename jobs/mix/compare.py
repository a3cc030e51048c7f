"""Mixtures of different methods over one selection, in one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tamis.jobs.mix.config import load_mixture
from tamis.jobs.mix.estimate import Found, find_proportions
from tamis.jobs.mix.folder import holds_mixture, read_mixture
from tamis.jobs.mix.selection import index_selection, open_selection
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError
from tamis.schemas.mixture import MixtureConfig
from tamis.scorers.mixture.comparison import Candidate, compare_mixtures
from tamis.scorers.mixture.fixed import proportional, stratified, unimax
from tamis.scorers.mixture.laws import Law, fit_laws
from tamis.scorers.mixture.runs import read_runs

__all__ = ["Compared", "compare_configs"]


@dataclass(frozen=True)
class Compared:
    """Mixtures side by side.

    Attributes:
        groups: in the order of shares.
        unit: of sizes and budget.
        budget: that epochs follow from.
        table: with the columns of `tamis.scorers.mixture.comparison.COMPARISON`.
        left_out: groups without content.
    """

    groups: tuple[str, ...]
    unit: str
    budget: int
    table: pa.Table
    left_out: tuple[str, ...]


def compare_configs(
    run: str,
    mixtures: Sequence[str],
    engine: Engine,
    work: str,
    *,
    overrides: Sequence[str] = (),
    runs: tuple[str, str] | None = None,
) -> Compared:
    """Compare mixtures of a run's selection: those named, beside by size, equal and UniMax's.

    Args:
        run: a finished run's folder.
        mixtures: config files, and folders of materialised mixtures.
        engine: where passes run.
        work: folder of what is kept.
        overrides: "key=value", for all of them: `by`, `unit`, `tokenizer`, `budget`, `max_epochs`, `seed`.
        runs: ratios and metrics, CSV: a law fitted to them predicts each mixture's mean metric.

    Raises:
        ConfigError: if mixtures don't have the same groups, or a file is wrong.
        DataError: if the data doesn't allow an estimate.
    """
    configs: dict[str, MixtureConfig] = {}
    given: dict[str, Mapping[str, float]] = {}
    for name in mixtures:
        if holds_mixture(name):
            given[name] = {g["name"]: g["share"] for g in read_mixture(name).mixture["groups"]}
            continue
        shown = Path(name).stem
        configs[shown if shown not in configs else name] = load_mixture(name, overrides)[0]
    base = next(iter(configs.values()), None)
    if base is None:
        wanted = ["without=union", "exhausted=repeat", *overrides]
        base = load_mixture(None, wanted)[0]
    for name, config in configs.items():
        for key in ("by", "missing", "unit", "tokenizer"):
            if getattr(config, key) != getattr(base, key):
                first = next(iter(configs))
                msg = f"{name} has another {key} than {first}: only mixtures of the same groups can be compared"
                raise ConfigError(msg)
    selection = open_selection(run)
    index = index_selection(selection, base, engine, work)
    found = {name: find_proportions(c, selection, index, engine, work) for name, c in configs.items()}
    totals = index.totals(base.unit)
    groups = tuple(name for name in index.names if totals[name] > 0)
    sizes = [float(totals[name]) for name in groups]
    budget = base.budget or int(sum(sizes))
    candidates = _baselines(sizes, budget, base.max_epochs)
    for name, one in found.items():
        if one.proportions is not None:
            candidates[_label(name, one)] = _candidate(one, groups)
    for name, shares in given.items():
        candidates[name] = Candidate([shares.get(group, 0.0) for group in groups], note="materialised")
    law = None if runs is None else _law(runs, groups)
    table = compare_mixtures(groups, candidates, sizes=sizes, budget=budget, law=law)
    left_out = tuple(name for name in index.names if name not in groups)
    return Compared(groups, base.unit, budget, table, left_out)


def _label(name: str, found: Found) -> str:
    return name if found.method in ("given", name) else f"{name} ({found.method})"


def _candidate(found: Found, groups: Sequence[str]) -> Candidate:
    shares = found.proportions or {}
    notes = [note for note in found.notes if "extrapolation" in note]
    return Candidate([shares.get(name, 0.0) for name in groups], extra_steps=found.extra_steps, note="; ".join(notes))


def _baselines(sizes: Sequence[float], budget: int, max_epochs: float) -> dict[str, Candidate]:
    spread = unimax(sizes, budget, max_epochs).shares
    return {
        "by size": Candidate(proportional(sizes).tolist(), extra_steps=0),
        "equal": Candidate(stratified(len(sizes)).tolist(), extra_steps=0),
        "UniMax": Candidate((spread / spread.sum()).tolist(), extra_steps=0),
    }


def _law(files: tuple[str, str], groups: Sequence[str]) -> Law:
    ratios, metrics = (Path(filesystem.local_path(path)) for path in files)
    runs = read_runs(ratios, metrics)
    if sorted(runs.groups) != sorted(groups):
        msg = f"{ratios} has the groups {', '.join(runs.groups)}, the selection {', '.join(groups)}"
        raise ConfigError(msg)
    order = [runs.groups.index(name) for name in groups]
    values: Any = np.asarray(runs.values)
    return fit_laws(runs.ratios[:, order], values, kind="log_linear", huber=0.02, positive=bool((values > 0).all()))
