"""Estimates what a plan needs in memory and on disk, from its files and models alone."""

from tamis.jobs.run.plan import Plan

__all__ = ["estimate"]

BASE = 350 << 20
"""Bytes of a worker process with its libraries and compiled kernels."""
BATCHES = 200 << 20
"""Bytes of the batches that a worker holds at once, with what is computed from them."""
EXPANSION = {"gz": 4.0, "zst": 4.0, "bz2": 5.0, "xz": 5.0}
"""Text bytes a compressed byte, for web text."""


def estimate(plan: Plan) -> dict[str, int]:
    """Return bytes: `worker` (private memory of each), `shared` (models, mapped once for all workers), `disk`.

    A worker also holds one output shard while it is written.
    """
    shard = int(plan.config.output.shard_mb * 1e6)
    text = 0.0
    for file in plan.files:
        text += (file.size or 0) * EXPANSION.get(file.path.rsplit(".", 1)[-1].lower(), 1.0)
    models = sum(model.bytes for found in plan.models.values() for model in found.values())
    return {
        "worker": BASE + BATCHES + min(shard, int(text)) * 2,
        "shared": models,
        "disk": int(text * 0.6),
    }
