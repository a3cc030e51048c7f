"""Verifies a materialised mixture against its record, compares two, and makes one again."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from tamis.jobs.manifest.verify import VerifyResult
from tamis.jobs.mix.folder import MIXED, read_mixture
from tamis.jobs.mix.materialise import Mixed, materialise
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import validate
from tamis.schemas.errors import ConfigError, InputError
from tamis.schemas.manifest import ShardRecord
from tamis.schemas.mixture import MixtureConfig
from tamis.schemas.mixture_manifest import MixtureManifest
from tamis.schemas.wording import counted
from tamis.scorers.mixture.record import explain_difference

__all__ = ["Repeated", "explain_mixtures", "mix_again", "verify_mixture"]

BLOCK = 1 << 20


@dataclass(frozen=True)
class Repeated:
    """A mixture that was made again.

    Attributes:
        mixed: the repetition.
        same: whether all shards have the same bytes.
        why: sentences on what differs.
    """

    mixed: Mixed
    same: bool
    why: tuple[str, ...]


def verify_mixture(folder: str) -> VerifyResult:
    """Check that a mixture is what its record says: bytes, digests, rows, groups, times seen, no stray file.

    Raises:
        RunError: if the folder holds no mixture.
    """
    manifest = read_mixture(folder)
    failures: list[str] = []
    taken: Counter[str] = Counter()
    size = rows = 0
    for shard in manifest.shards:
        path = filesystem.join(folder, shard.path)
        if not filesystem.exists(path):
            failures.append(f"{shard.path} is missing")
            continue
        try:
            with filesystem.open_binary(path) as stream:
                total = hashlib.sha256()
                bytes_ = 0
                while block := stream.read(BLOCK):
                    total.update(block)
                    bytes_ += len(block)
                size += bytes_
                if total.hexdigest() != shard.sha256:
                    failures.append(
                        f"{shard.path} was changed: its SHA-256 is {total.hexdigest()}, recorded is {shard.sha256}"
                    )
                    continue
                stream.seek(0)
                groups = _groups(stream, shard, manifest, failures)
        except (InputError, OSError, ValueError, pa.ArrowException) as error:
            failures.append(f"{shard.path} can't be read: {str(error).strip().partition(chr(10))[0]}")
            continue
        number = sum(groups.values())
        rows += number
        taken += groups
        if number != shard.rows:
            failures.append(f"{shard.path} holds {counted(number, 'row')}, recorded are {shard.rows:,}")
    failures += _strange_files(folder, manifest)
    if not failures:
        failures += _counts(manifest, taken, rows)
    return VerifyResult(tuple(failures), (), len(manifest.shards), rows, size)


def _groups(stream: Any, shard: ShardRecord, manifest: MixtureManifest, failures: list[str]) -> Counter[str]:
    if shard.path.endswith(".parquet"):
        with pq.ParquetFile(stream) as file:
            marked = (file.metadata.metadata or {}).get(b"tamis.mixture_sha256", b"").decode()
            if marked != manifest.mixture_sha256:
                failures.append(f"{shard.path} comes from another mixture: its footer says {marked or 'none'}")
            return Counter(file.read(columns=["mixture_group"]).column("mixture_group").to_pylist())
    wanted = pj.ParseOptions(
        explicit_schema=pa.schema([("mixture_group", pa.string())]), unexpected_field_behavior="ignore"
    )
    with pa.CompressedInputStream(stream, "zstd") as lines:
        table = pj.read_json(lines, parse_options=wanted, read_options=pj.ReadOptions(block_size=1 << 28))
    return Counter(table.column("mixture_group").to_pylist())


def _strange_files(folder: str, manifest: MixtureManifest) -> Iterator[str]:
    known = {shard.path for shard in manifest.shards}
    mixed = filesystem.join(folder, MIXED)
    if not filesystem.exists(mixed):
        return
    try:
        files = filesystem.expand(mixed)
    except InputError:  # an empty folder
        return
    for file in files:
        relative = file.path[file.path.rfind(f"/{MIXED}/") + 1 :]
        if relative not in known:
            yield f"{relative} is no file of the mixture: its record doesn't name it"


def _counts(manifest: MixtureManifest, taken: Mapping[str, int], rows: int) -> Iterator[str]:
    if rows != manifest.documents:
        yield f"the shards hold {counted(rows, 'document')}, recorded are {manifest.documents:,}"
    for group in manifest.mixture["groups"]:
        found = taken.get(group["name"], 0)
        if found != group["taken"]:
            yield f"group {group['name']}: the shards hold {found:,} documents, recorded are {group['taken']:,}"
        seen = sum(int(times) * number for times, number in group["times_seen"].items())
        if seen != group["taken"]:
            yield f"group {group['name']}: times seen add to {seen:,}, but {group['taken']:,} documents were taken"


def explain_mixtures(first: str, second: str) -> tuple[bool, tuple[str, ...]]:
    """Return whether two mixtures have the same shards, and sentences on how they differ.

    Raises:
        RunError: if a folder holds no mixture.
    """
    a, b = read_mixture(first), read_mixture(second)
    same = [(s.path, s.sha256) for s in a.shards] == [(s.path, s.sha256) for s in b.shards]
    why = []
    if a.run.selection_sha256 != b.run.selection_sha256:
        why.append(f"they are of different selections: {a.run.path} and {b.run.path}")
    why += explain_difference(a.mixture, b.mixture)
    tokens = [None if m.tokenizer is None else m.tokenizer["digest"] for m in (a, b)]
    if tokens[0] != tokens[1]:
        names = ["none" if m.tokenizer is None else m.tokenizer["name"] for m in (a, b)]
        why.append(f"tokens were counted by {names[0]}, now they are by {names[1]}")
    for key in ("format", "shard_mb", "order", "fill", "clusters"):
        if a.config.get(key) != b.config.get(key):
            why.append(f"{key} was {a.config.get(key)}, now it is {b.config.get(key)}")
    if a.provenance.code_sha256 != b.provenance.code_sha256:
        why.append("the program's own code differs")
    return same, tuple(why)


def mix_again(folder: str, output: str, engine: Engine, *, fresh: bool = False) -> Repeated:
    """Make a mixture again from its record into another folder, and compare the bytes.

    Args:
        folder: of the mixture.
        output: of the repetition.
        engine: where passes run.
        fresh: forget what an earlier repetition left.

    Raises:
        ConfigError: if `output` is the mixture itself, or its config isn't one of this version.
        TamisError: whatever stopped it.
    """
    before = read_mixture(folder)
    local = filesystem.is_local(folder) and filesystem.is_local(output)
    if local and Path(filesystem.local_path(folder)).resolve() == Path(filesystem.local_path(output)).resolve():
        msg = f"--output {output} is the mixture itself, which a repetition would overwrite: give another folder"
        raise ConfigError(msg)
    try:
        config = validate(MixtureConfig, dict(before.source_config), "mixture")
    except ConfigError as error:
        told = before.provenance.tamis
        msg = f"{folder}: its config was written for tamis {told} and this version refuses it: {error}"
        raise ConfigError(msg) from None
    mixed = materialise(before.run.path, config, before.source_config, output, engine, fresh=fresh)
    same, why = explain_mixtures(folder, output)
    return Repeated(mixed, same, why)
