"""The public functions `tamis.run`, `tamis.open`, `tamis.score` and `tamis.steps`; nothing heavy comes with them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset

    from tamis.jobs.manifest.verify import VerifyResult
    from tamis.pipeline.graph.progress import Progress
    from tamis.schemas.manifest import Manifest
    from tamis.scorers.text.texts import Texts

__all__ = ["Run", "StepInfo", "open_run", "run", "score", "steps"]

Path: TypeAlias = str | PathLike[str]
Config: TypeAlias = Path | Mapping[str, Any]
"""A config file's path or URL, or what such a file holds."""


@dataclass(frozen=True)
class Run:
    """A finished run: its manifest, its documents, and SQL over them.

    ```python
    run = tamis.open("runs/demo")
    run.manifest.selected
    run.sql("SELECT source, count(*) AS documents FROM selected GROUP BY source").to_pandas()
    run.selected().to_table(columns=["doc_id", "text"], filter=pyarrow.dataset.field("source") == "web")
    assert run.verify().ok
    ```

    Attributes:
        path: the run's folder or URL.
        nothing_to_do: whether `tamis.run` found it finished, so that nothing was computed or written.
    """

    path: str
    nothing_to_do: bool = False

    @cached_property
    def manifest(self) -> "Manifest":
        """What the run read, did and left."""
        from tamis.jobs.manifest.file import read_manifest

        return read_manifest(self.path)

    def selected(self) -> "pyarrow.dataset.Dataset":
        """Return the selected documents as a dataset, which reads only the columns and rows that are asked for."""
        return self._dataset("selected")

    def rejected(self) -> "pyarrow.dataset.Dataset":
        """Return the rejected documents, with the step, rule, value and threshold that each fell to."""
        return self._dataset("rejected")

    def errors(self) -> "pyarrow.dataset.Dataset":
        """Return the records that couldn't be read or scored, with their place in the input."""
        return self._dataset("errors")

    def _dataset(self, fate: str) -> "pyarrow.dataset.Dataset":
        import pyarrow.dataset

        from tamis.jobs.manifest.file import shard_path, shards_of
        from tamis.pipeline.storage import filesystem
        from tamis.schemas.tables import DOCUMENT_SCHEMA

        paths = [shard_path(self.path, shard) for shard in shards_of(self.manifest, fate)]
        if not paths:
            return pyarrow.dataset.dataset(DOCUMENT_SCHEMA.empty_table())
        if filesystem.is_local(self.path):
            local = [filesystem.local_path(path) for path in paths]
            return pyarrow.dataset.dataset(local, format="parquet", partitioning=None)
        import fsspec

        fs, _ = fsspec.core.url_to_fs(self.path)
        inner = [fs._strip_protocol(path) for path in paths]  # fsspec has no public name for it
        return pyarrow.dataset.dataset(inner, format="parquet", filesystem=fs, partitioning=None)

    def sql(self, query: str) -> "pa.Table":
        """Ask DuckDB about the run, as `tamis sql` does: views selected, rejected, documents, errors, steps, rules, ...

        Args:
            query: one statement.

        Raises:
            ConfigError: for a mistake in the query.
        """
        import pyarrow as pa

        from tamis.jobs.sql.statements import execute, split
        from tamis.jobs.sql.views import connect
        from tamis.schemas.errors import ConfigError

        with connect(self.path) as connection:
            statements = split(connection, query)
            if len(statements) != 1:
                msg = f"one statement is wanted, got {len(statements)}"
                raise ConfigError(msg)
            execute(connection, self.path, statements[0])
            cursor: Any = connection  # releases of DuckDB call it differently
            fetch = getattr(cursor, "to_arrow_table", None) or cursor.fetch_arrow_table
            with warnings.catch_warnings():  # that the rows are copied is all right for what fits a table
                warnings.simplefilter("ignore", UserWarning)
                return pa.table(fetch())

    def verify(self, *, inputs: bool = False) -> "VerifyResult":
        """Recompute digests, counts and the balance from the files; `.ok` says whether all agree.

        Args:
            inputs: digest inputs and models too.
        """
        from tamis.jobs.manifest.verify import verify

        return verify(self.path, inputs=inputs)


def run(
    config: Config,
    *,
    output: Path | None = None,
    workers: int = 1,
    runner: str = "FnApiRunner",
    options: Sequence[str] = (),
    fresh: bool = False,
    replace: bool = False,
    cache: Path | None = None,
    progress: "Progress | None" = None,
) -> Run:
    """Run a config from inputs to shards and manifest, going on from what an earlier call left.

    ```python
    run = tamis.run(
        {
            "inputs": [{"path": "crawl/*.warc.gz", "source": "web"}],
            "steps": [{"language": {"keep": ["en"]}}, "exact_dedup"],
        },
        output="runs/english",
        workers=2,
    )
    ```

    Args:
        config: a config file's path or URL, whose folder its relative paths belong to; or what such a file holds.
        output: the run's folder; the config's `output.path` if absent.
        workers: local worker processes; works from scripts and notebooks alike.
        runner: a Beam runner; the local one unless said.
        options: Beam options, such as `--region=europe-west1`.
        fresh: forget what earlier runs left in the folder.
        replace: a finished run of another config in the folder may be replaced; `fresh` means that too.
        cache: a folder of finished stages that runs into several folders share, or one of these runs.
        progress: told how far the run is.

    Raises:
        TamisError: whatever stopped it, in a sentence: `ConfigError`, `InputError`, `ModelError`, `DataError`,
            `BalanceError`, `RunError`. A run of which too much became errors, or that read or selected nothing, is
            whole and can be opened, but raises a `RunError` unless the config allows it.
    """
    from tamis.jobs.config_file import load_config
    from tamis.jobs.run.execute import execute
    from tamis.jobs.run.paths import places_of
    from tamis.jobs.run.plan import plan_from
    from tamis.jobs.run.replace import refuse_replacing
    from tamis.pipeline.graph.engine import Engine
    from tamis.pipeline.graph.quiet import silence_beam
    from tamis.pipeline.steps.registry import parse_config
    from tamis.pipeline.storage import filesystem
    from tamis.schemas.errors import RunError

    silence_beam()
    file: str | None = None
    if isinstance(config, Mapping):
        plain: Mapping[str, Any] = dict(config)
        parsed = parse_config(plain)
    else:
        file = fspath(config)
        parsed, plain = load_config(file)
    places = places_of(file)
    folder = fspath(output) if output is not None else places.output(parsed.output.path)
    scratch = filesystem.join(folder, "work", "passes")
    plan = plan_from(parsed, plain, places)
    if not (replace or fresh):
        refuse_replacing(
            plan, folder, "`replace=True` replaces it; another `output`, and this one as `cache`, keeps both"
        )
    with Engine(scratch, workers=workers, runner=runner, options=options, progress=progress) as engine:
        finished = execute(plan, folder, engine, fresh=fresh, cache=None if cache is None else fspath(cache))
    if finished.problems:
        raise RunError("; ".join(finished.problems))
    return Run(folder, finished.nothing_to_do)


def open_run(path: Path) -> Run:
    """Open a finished run.

    ```python
    tamis.open("runs/demo").manifest.read
    ```

    Raises:
        RunError: if the folder holds no finished run.
    """
    opened = Run(fspath(path))
    opened.manifest  # noqa: B018  (says now what is wrong with it)
    return opened


def score(texts: "Texts", steps: Mapping[str, Any] | Sequence[Any]) -> "pa.Table":
    """Compute the columns of steps for texts at hand: no run, no files, nothing rejected.

    ```python
    tamis.score(["The quick brown fox.", "Der schnelle Fuchs."], {"language": {}}).to_pylist()
    tamis.score(frame["text"], [{"perplexity": {"model": "models/quality"}}, "exact_dedup"])
    ```

    Args:
        texts: a list of `str`, an Arrow array, or a pandas or polars column; a null counts as an empty text.
        steps: verb to options, or a list of steps as in a config. Rules and `keep` decide nothing here.

    Returns:
        A row a text, with the columns of all steps in order.

    Raises:
        ConfigError: for an unknown step or option.
        ModelError: if a model is missing or broken.
        RunError: naming the text that a step failed on.
    """
    from tamis.jobs.score_texts import score_texts

    listed = [{verb: options} for verb, options in steps.items()] if isinstance(steps, Mapping) else list(steps)
    return score_texts(texts, listed)


@dataclass(frozen=True)
class StepInfo:
    """What there is to know of a step.

    Attributes:
        verb: its key in a config.
        summary: what it does, in a line.
        options: JSON Schema of its options.
        distribution: the distribution that brings it.
    """

    verb: str
    summary: str
    options: Mapping[str, Any]
    distribution: str


def steps() -> dict[str, StepInfo]:
    """Return the steps that configs can use: our own, and those that other distributions bring.

    ```python
    print(*tamis.steps())
    tamis.steps()["perplexity"].options["properties"]
    ```
    """
    from tamis.pipeline.steps.registry import plugged_in, step_class, verbs

    found = {}
    for verb in verbs():
        kind = step_class(verb)
        point = plugged_in().get(verb)
        owner = point.dist.name if point is not None and point.dist is not None else "tamis"
        summary = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        found[verb] = StepInfo(verb, summary, kind.model_json_schema(), owner)
    return found
