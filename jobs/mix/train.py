"""Finds a mixture by training a small model under a controller; torch is imported when it runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tamis.jobs.mix.estimate import target_documents
from tamis.jobs.mix.selection import Index, Selection, sample_texts
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest
from tamis.schemas.errors import ConfigError
from tamis.schemas.mixture import ControllerEstimate, MixtureConfig, ProxyConfig
from tamis.scorers.mixture.controlled_training import train_by_controller
from tamis.scorers.mixture.controller import Controller
from tamis.scorers.mixture.document_tokenizer import DocumentTokenizer
from tamis.scorers.mixture.methods import CONTROLLERS, controller_from_json
from tamis.scorers.mixture.rows import GroupRows, pack_rows
from tamis.scorers.mixture.trainer import TrainerOptions

__all__ = ["group_rows", "packed_texts", "proxy_model", "proxy_tokenizer", "train_controller", "trainer_options"]


def train_controller(
    method: ControllerEstimate, config: MixtureConfig, selection: Selection, index: Index, engine: Engine, work: str
) -> tuple[Controller, Mapping[str, Any]]:
    """Train by a controller's requests until it has ended; go on with a run that was cut off.

    Args:
        method: the controller, its options, and the proxy model.
        config: of the mixture.
        selection: of a run.
        index: its index.
        engine: where documents are read.
        work: folder of samples and checkpoints; local.

    Returns:
        The controller at its end, and figures: steps, rows and epochs of each group, parameters of the model.

    Raises:
        ConfigError: if torch is missing, or options don't fit.
        DataError: if a group is too small.
    """
    if not filesystem.is_local(work):
        msg = f"{work}: a proxy is trained on this machine: give a local folder with --output"
        raise ConfigError(msg)
    groups = group_rows(method.proxy, config, selection, index, engine, work)
    names = [group.name for group in groups]
    if "groups" in method.options:
        msg = "estimate.options: groups follow from the data, and can't be given"
        raise ConfigError(msg)
    controller = CONTROLLERS[method.method]({"groups": names, "seed": config.seed, **method.options})
    steps = _steps(controller)
    extra = None
    if method.target is not None:
        extra = {"target": _target_rows(method, config)}
    elif method.method == "dga":
        msg = "estimate: dga aligns with a target: give `target`"
        raise ConfigError(msg)
    options = trainer_options(method.proxy, steps, config.seed)
    folder = Path(filesystem.local_path(work)) / f"controller-{_named(method, config, selection)}"
    result = train_by_controller(controller, options, groups, folder=folder, extra=extra)
    if result is None:
        msg = "the controller was stopped before its end"
        raise ConfigError(msg)
    # A run that was cut off went on with the controller of its checkpoint, which is at its end now.
    ended = controller_from_json(json.loads((folder / "checkpoint.json").read_text())["controller"])
    figures = {
        "steps": sum(b.steps for b in result.boundaries),
        "rows": dict(zip(names, result.rows, strict=True)),
        "epochs": dict(zip(names, result.epochs, strict=True)),
        "parameters": result.parameters,
        "dropped_tokens": {group.name: group.dropped_tokens for group in groups},
    }
    return ended, figures


def _named(method: ControllerEstimate, config: MixtureConfig, selection: Selection) -> str:
    target = None if method.target is None else method.target.model_dump(mode="json")
    tokenizer = proxy_tokenizer(method.proxy).digest
    told = method.model_dump(mode="json", exclude={"target"})
    return digest([selection.sha256, told, target, tokenizer, config.by, config.missing, config.seed])[:16]


def _steps(controller: Controller) -> int:
    """Return the steps of the longest run from a restart that a controller asks for."""
    options = controller.parameters.model_dump()
    if "rounds" in options:
        return int(options["rounds"] * options["round_steps"] + options["prior_steps"])
    return int(max(options.get(name) or 0 for name in ("steps", "graph_steps", "reference_steps")))


def proxy_tokenizer(proxy: ProxyConfig) -> DocumentTokenizer:
    """Return the tokenizer of a proxy model."""
    named = proxy.tokenizer
    return DocumentTokenizer(named.path, end=named.end, special_tokens=named.special_tokens)


def proxy_model(proxy: ProxyConfig) -> dict[str, Any]:
    """Return the proxy's configuration with the sizes that follow from tokenizer and context."""
    tokenizer = proxy_tokenizer(proxy)
    filled: dict[str, Any] = {
        "vocab_size": tokenizer.vocabulary,
        "bos_token_id": tokenizer.end,
        "eos_token_id": tokenizer.end,
    }
    kind = proxy.model.get("model_type")
    if kind == "gpt2":
        filled |= {"n_positions": proxy.context, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    else:
        filled["max_position_embeddings"] = proxy.context
    return filled | dict(proxy.model)


def trainer_options(proxy: ProxyConfig, steps: int, seed: int) -> TrainerOptions:
    """Return how a proxy is trained for so many steps."""
    return TrainerOptions(
        proxy_model(proxy),
        steps,
        batch_rows=proxy.batch_rows,
        learning_rate=proxy.learning_rate,
        final_learning_rate=proxy.final_learning_rate,
        warmup_steps=min(proxy.warmup_steps, steps),
        schedule=proxy.schedule,
        weight_decay=proxy.weight_decay,
        seed=seed,
        device=proxy.device,
    )


def group_rows(
    proxy: ProxyConfig, config: MixtureConfig, selection: Selection, index: Index, engine: Engine, work: str
) -> list[GroupRows]:
    """Return rows of each group's documents, drawn by a keyed hash.

    Raises:
        DataError: if a group is too small for its validation rows and a training row.
    """
    tokenizer = proxy_tokenizer(proxy)
    found = []
    for number, name in enumerate(index.names):
        sample = sample_texts(
            selection, index, number, proxy.group_mb * 1e6, seed=config.seed, engine=engine, work=work
        )
        found.append(
            pack_rows(
                name,
                list(tokenizer.documents(sample.texts)),
                list(sample.doc_ids),
                context=proxy.context,
                end=tokenizer.end,
                validation_rows=proxy.validation_rows,
                seed=config.seed,
            )
        )
    return found


def _target_rows(method: ControllerEstimate, config: MixtureConfig) -> npt.NDArray[np.int32]:
    """Return the rows of the target."""
    if method.target is None:
        msg = "estimate: there is no target"
        raise ConfigError(msg)
    ids, texts = target_documents(method.target, method.proxy.group_mb * 1e6, what="the target")
    return packed_texts(method.proxy, "target", ids, texts, config.seed)


def packed_texts(proxy: ProxyConfig, name: str, ids: list[str], texts: list[str], seed: int) -> npt.NDArray[np.int32]:
    """Return texts as rows that are only measured, at most the proxy's `validation_rows`.

    Raises:
        DataError: if they don't fill one row.
    """
    tokenizer = proxy_tokenizer(proxy)
    rows = pack_rows(
        name,
        list(tokenizer.documents(texts)),
        ids,
        context=proxy.context,
        end=tokenizer.end,
        validation_rows=0,
        seed=seed,
    )
    return rows.train[: proxy.validation_rows]
