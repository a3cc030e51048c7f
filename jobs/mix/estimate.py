"""Finds the proportions of a mixture: by n-gram models, by runs that were made, or by training a small model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

from tamis.jobs.documents import documents as read_documents
from tamis.jobs.mix.selection import Index, Selection, sample_texts
from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError, DataError
from tamis.schemas.mixture import (
    ControllerEstimate,
    CorrelationEstimate,
    MixMinEstimate,
    MixtureConfig,
    RunsEstimate,
    StateEstimate,
    TextFiles,
)
from tamis.scorers.mixture.controller import Controller
from tamis.scorers.mixture.fixed import mean_mixture
from tamis.scorers.mixture.methods import controller_from_json
from tamis.scorers.mixture.mixmin import mixmin, score_tokens, token_probabilities
from tamis.scorers.mixture.perplexity_correlations import correlations, project
from tamis.scorers.mixture.runs import collapse_groups, expand_groups, read_runs
from tamis.scorers.mixture.swarm import METHODS, Swarm, propose
from tamis.scorers.ngram.closed_vocabulary import ClosedVocabulary
from tamis.scorers.ngram.estimate import estimate as estimate_ngrams
from tamis.scorers.ngram.kenlm_binary import ProbingModel, write_probing
from tamis.scorers.text.spans import text_spans

__all__ = ["Found", "Groups", "find_proportions", "proportions_from_files", "target_documents"]


class Groups(Protocol):
    """Groups with sizes: an index of documents, or what is estimated of one."""

    @property
    def names(self) -> tuple[str, ...]:
        """The groups, sorted."""

    def totals(self, unit: str) -> dict[str, int]:
        """Return the groups' sizes in a unit: tokens, bytes or documents."""


@dataclass(frozen=True)
class Found:
    """Proportions, and how they were found.

    Attributes:
        method: its name; `given` for proportions or stages of the config, else of `without` or of the estimate.
        parameters: of the method, JSON values.
        proportions: group to share; None: as `without` says.
        stages: shares by group and length, one for each stage of the schedule.
        rounds: what was found by round, for manifest and pictures.
        figures: what the method reports, JSON values.
        notes: sentences for a person.
        extra_steps: steps of runs that it needed beside the final one, where that is known.
    """

    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    proportions: Mapping[str, float] | None = None
    stages: tuple[tuple[Mapping[str, float], float], ...] = ()
    rounds: Sequence[Mapping[str, Any]] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    extra_steps: int | None = None


def find_proportions(config: MixtureConfig, selection: Selection, index: Index, engine: Engine, work: str) -> Found:
    """Return the proportions that a config gives, or finds.

    Args:
        config: says how.
        selection: of a run.
        index: its index.
        engine: where passes run.
        work: folder of what is kept; stages are named by digests and found again.

    Raises:
        ConfigError: if options, groups or files don't fit, or torch is missing where it is needed.
        DataError: if the data doesn't allow the estimate.
        InputError: if a file can't be read.
    """
    known = proportions_from_files(config, index)
    if known is not None:
        return known
    match config.estimate:
        case MixMinEstimate() as method:
            return _mixmin(method, config, selection, index, engine, work)
        case ControllerEstimate() as method:
            from tamis.jobs.mix.train import train_controller

            controller, figures = train_controller(method, config, selection, index, engine, work)
            return found_by(controller, index, figures)
    msg = "a mixture needs proportions, stages, an estimate, or a word on what the shares are without"
    raise ConfigError(msg)


def proportions_from_files(config: MixtureConfig, index: "Groups") -> Found | None:
    """Return the proportions as far as they follow from the config, its files and the groups' sizes alone.

    Returns:
        None if documents have to be looked at.

    Raises:
        ConfigError: if options, groups or files don't fit.
    """
    if config.without is not None:
        return Found(config.without, proportions=None)
    if config.proportions is not None:
        return Found("given", proportions=config.proportions)
    if config.stages is not None:
        groups = sorted({name for stage in config.stages for name in stage.proportions})
        rows = [[stage.proportions.get(name, 0.0) for name in groups] for stage in config.stages]
        lengths = [stage.length for stage in config.stages]
        mean = mean_mixture(rows, lengths)
        stages = tuple((stage.proportions, stage.length) for stage in config.stages)
        return Found("given", proportions=dict(zip(groups, mean.tolist(), strict=True)), stages=stages)
    match config.estimate:
        case RunsEstimate() as method:
            return _by_runs(method, config, index)
        case CorrelationEstimate() as method:
            return _by_correlations(method, config, index)
        case StateEstimate() as method:
            return _by_state(method, index)
    return None


def target_documents(files: TextFiles, most_bytes: float, *, what: str) -> tuple[list[str], list[str]]:
    """Return ids and texts of the first documents of files, until they have so many bytes.

    Raises:
        DataError: if there is no text.
        InputError: if a file can't be read.
    """
    ids: list[str] = []
    texts: list[str] = []
    size = 0
    for batch in read_documents(files.path, ReadOptions(text=files.text), what):
        for identity, text in zip(batch.column("doc_id").to_pylist(), batch.column("text").to_pylist(), strict=True):
            if text.strip():
                ids.append(identity)
                texts.append(text)
                size += len(text.encode())
            if size >= most_bytes:
                return ids, texts
    if not texts:
        msg = f"{what}: no document in {', '.join(files.path)} (the text field is {files.text!r})"
        raise DataError(msg)
    return ids, texts


def _mixmin(
    method: MixMinEstimate, config: MixtureConfig, selection: Selection, index: Index, engine: Engine, work: str
) -> Found:
    _, target = target_documents(method.target, method.target_mb * 1e6, what="the target")
    samples: dict[str, tuple[str, ...]] = {}
    notes = []
    for number, name in enumerate(index.names):
        found = sample_texts(
            selection, index, number, method.group_mb * 1e6, seed=config.seed, engine=engine, work=work
        )
        if any(text.strip() for text in found.texts):
            samples[name] = found.texts
        else:
            notes.append(f"{name} has no text to learn from: it gets no share")
    vocabulary = ClosedVocabulary.of(text for texts in samples.values() for text in texts)
    sentences = text_spans(list(vocabulary.sentences(target)))
    scores = []
    with TemporaryDirectory() as folder:
        for number, texts in enumerate(samples.values()):
            lines = text_spans([vocabulary.primer(), *vocabulary.sentences(texts)])
            path = Path(folder) / f"{number:05d}.binary"
            made = estimate_ngrams([lines], order=method.order, discount_fallback=True, skip_symbols=True)
            write_probing(made.arpa, path)
            scores.append(score_tokens(ProbingModel(path), sentences))
    # All tokens are known to every model, so that none is left out and the weights are those of all.
    weights = np.fromiter(vocabulary.weights(target), np.float64)
    best = mixmin(token_probabilities(scores), counts=weights, tolerance=method.tolerance)
    figures = {
        "loss": best.loss,
        "losses": dict(zip(samples, best.losses.tolist(), strict=True)),
        "gap": best.gap,
        "iterations": best.iterations,
        "target_documents": len(target),
        "unit": "nats a word",
    }
    return Found(
        method.method,
        method.model_dump(mode="json", exclude={"target", "method"}),
        dict(zip(samples, best.shares.tolist(), strict=True)),
        figures=figures,
        notes=tuple(notes),
        extra_steps=0,
    )


def _by_runs(method: RunsEstimate, config: MixtureConfig, index: "Groups") -> Found:
    keep = None if method.weights is None else list(method.weights)
    runs = read_runs(Path(filesystem.local_path(method.ratios)), Path(filesystem.local_path(method.metrics)), keep=keep)
    unknown = [name for name in runs.groups if name not in index.names]
    if unknown:
        msg = f"{method.ratios} has a group {unknown[0]!r} that the data hasn't{nearest(unknown[0], list(index.names))}"
        raise ConfigError(msg)
    notes = [f"{name} isn't in {method.ratios}: it gets no share" for name in index.names if name not in runs.groups]
    kept = method.keep or {}
    if kept:
        runs = collapse_groups(runs, kept)
    totals = index.totals(config.unit)
    members = {name: list(kept[name]) if name in kept else [name] for name in runs.groups}
    sizes = np.array([sum(totals[one] for one in members[name]) for name in runs.groups], np.float64)
    caps = None
    if config.budget is not None:
        caps = _caps(runs.groups, members, kept, totals, config)
    options = dict(METHODS[method.method])
    if method.kl is not None:
        options["kl"] = method.kl
    prior = np.maximum(sizes, 1e-9)
    proposal = propose(runs, prior=prior, caps=caps, weights=method.weights, seed=config.seed, **options)
    shares = expand_groups(dict(zip(runs.groups, proposal.shares.tolist(), strict=True)), kept)
    figures = {
        "runs": len(runs.names),
        "metrics": list(runs.metrics),
        "predicted": proposal.predicted,
        "at_sizes": None if np.isnan(proposal.at_prior) else proposal.at_prior,
        "extrapolated": proposal.extrapolated,
        "outside": [runs.groups[i] for i in proposal.outside],
        "hull_distance": proposal.hull_distance,
    }
    parameters = options | {"weights": method.weights, "keep": method.keep}
    return Found(method.method, parameters, shares, figures=figures, notes=(*notes, *proposal.notes))


def _caps(
    groups: Sequence[str],
    members: Mapping[str, Sequence[str]],
    kept: Mapping[str, Mapping[str, float]],
    totals: Mapping[str, int],
    config: MixtureConfig,
) -> Any:
    """Return the largest shares that the epochs allow, of a kept mixture by its tightest member."""
    budget = float(config.budget or 1)
    epochs = 1.0 if config.exhausted == "once" else config.max_epochs
    found = []
    for name in groups:
        parts = kept.get(name, {name: 1.0})
        whole = sum(parts.values())
        found.append(min(totals[one] * epochs * whole / (parts[one] * budget) for one in members[name] if parts[one]))
    caps = np.minimum(np.array(found), 1.0)
    if caps.sum() < 1:
        return None  # the blend says what happens then
    return caps


def _by_correlations(method: CorrelationEstimate, config: MixtureConfig, index: "Groups") -> Found:
    import pyarrow.parquet as pq

    with filesystem.open_binary(method.losses) as stream:
        table = pq.read_table(stream)
    missing = [name for name in (method.by, *method.scores) if name not in table.schema.names]
    if missing:
        msg = f"{method.losses} has no column {missing[0]!r}{nearest(missing[0], table.schema.names)}"
        raise ConfigError(msg)
    models = list(method.scores)
    grouped = table.group_by(method.by).aggregate([(name, "mean") for name in models])
    by_group = {row[method.by]: [row[f"{name}_mean"] for name in models] for row in grouped.to_pylist()}
    measured = [name for name in index.names if name in by_group]
    if not measured:
        known = ", ".join(index.names[:10])
        msg = f"{method.losses}: none of its values of {method.by!r} is a group; groups are {known}"
        raise ConfigError(msg)
    values = correlations(
        np.array([by_group[name] for name in measured]), list(method.scores.values()), estimator=method.estimator
    )
    totals = index.totals(config.unit)
    sizes = np.array([totals[name] for name in measured], np.float64)
    epochs = 1.0 if config.exhausted == "once" else config.max_epochs
    budget = float(config.budget) if config.budget is not None else float(sizes.sum()) / 2
    shares = project(values, np.maximum(sizes * epochs / budget, 1e-12))
    notes = [f"{name} has no losses: it gets no share" for name in index.names if name not in by_group]
    if config.budget is None:
        notes.append("without a budget, groups are taken by their correlations up to half of what there is")
    return Found(
        method.method,
        {"models": len(models), "estimator": method.estimator},
        dict(zip(measured, shares.tolist(), strict=True)),
        figures={"correlations": dict(zip(measured, values.tolist(), strict=True))},
        notes=tuple(notes),
    )


def _by_state(method: StateEstimate, index: "Groups") -> Found:
    with filesystem.open_binary(method.file) as stream:
        text = stream.read().decode("utf-8", "replace")
    controller = controller_from_json(text)
    found = found_by(controller, index, {})
    if controller.next() is None:
        return found
    return Found(**{**vars(found), "notes": (*found.notes, f"the controller of {method.file} hasn't ended")})


def found_by(controller: Controller, index: "Groups", figures: Mapping[str, Any]) -> Found:
    """Return what a controller proposes.

    Raises:
        ConfigError: if it knows a group that the data hasn't.
    """
    unknown = [name for name in controller.groups if name not in index.names]
    if unknown:
        msg = f"the controller has a group {unknown[0]!r} that the data hasn't{nearest(unknown[0], list(index.names))}"
        raise ConfigError(msg)
    history = controller.history()
    stages: tuple[tuple[Mapping[str, float], float], ...] = ()
    if not isinstance(controller, Swarm):  # a swarm's runs are no rounds of one training
        stages = tuple((dict(zip(controller.groups, r["p"], strict=True)), 1.0) for r in history if "p" in r)
    notes = tuple(controller.proposal().notes) if isinstance(controller, Swarm) and controller.next() is None else ()
    return Found(
        controller.method,
        controller.parameters.model_dump(mode="json"),
        dict(zip(controller.groups, controller.proportions(), strict=True)),
        stages,
        history,
        figures,
        notes,
        figures.get("steps"),
    )
