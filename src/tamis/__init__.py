"""Data curation for language-model pretraining corpora, on Apache Beam: exact, accounted for, queryable.

```python
import tamis

run = tamis.run("corpus.yaml", workers=2)
print(run.manifest.selected, "of", run.manifest.read)
print(run.sql("SELECT step, rule, count(*) AS documents FROM rejected GROUP BY ALL"))
tamis.score(["A text of one's own."], {"language": {}, "heuristics": {"presets": ["gopher_quality"]}})
```

Scorers are classes in `tamis.scorers`, with a `schema` and `score(texts)`; steps are in `tamis.pipeline.steps`.
"""

from tamis.jobs.api import Run, StepInfo, open_run, run, score, steps
from tamis.schemas.errors import (
    BalanceError,
    ConfigError,
    DamagedError,
    DataError,
    InputError,
    ModelError,
    RunError,
    TamisError,
)

open = open_run  # noqa: A001  (`tamis.open`, as `zarr.open` and `rasterio.open`)

__all__ = [
    "BalanceError",
    "ConfigError",
    "DamagedError",
    "DataError",
    "InputError",
    "ModelError",
    "Run",
    "RunError",
    "StepInfo",
    "TamisError",
    "open",
    "run",
    "score",
    "steps",
]
