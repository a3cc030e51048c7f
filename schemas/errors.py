"""Every error that Tamis raises on purpose.

```
TamisError                      the root: its text is one plain sentence for the user
├── ConfigError  (ValueError)   the config or the command line is wrong; exit status 2
├── InputError   (ValueError)   an input file or record can't be read or has the wrong form
│   └── NoFileError             there is no file of that name or pattern
├── ModelError   (ValueError)   a model file is missing, corrupt, or doesn't fit its tokenizer or normaliser
├── DataError    (ValueError)   the data doesn't allow what was asked (an empty target, no positive documents)
└── RunError     (RuntimeError) the run failed
    ├── BalanceError            read != selected + rejected + errors
    └── DamagedError            a file of the work folder isn't what was written: it is made again
```

Each message names the file, record or key and says what would mend it; credentials in addresses are taken out of it.
"""

from tamis.schemas.secrets import redacted

__all__ = [
    "BalanceError",
    "ConfigError",
    "DamagedError",
    "DataError",
    "InputError",
    "ModelError",
    "NoFileError",
    "RunError",
    "TamisError",
]


class TamisError(Exception):
    """Root of all errors raised on purpose; `str(error)` is one sentence for the user."""

    def __init__(self, *told: object):
        super().__init__(*(redacted(part) if isinstance(part, str) else part for part in told))


class ConfigError(TamisError, ValueError):
    """The config or the command line is wrong."""


class InputError(TamisError, ValueError):
    """An input file or record can't be read, or hasn't the form it should have."""


class NoFileError(InputError):
    """There is no file of that name or pattern: it is gone, or hasn't come yet."""


class ModelError(TamisError, ValueError):
    """A model file is missing, corrupt, or paired with a tokenizer or normaliser it wasn't trained with."""


class DataError(TamisError, ValueError):
    """The data doesn't allow what was asked: an empty target, no positive documents, no candidates."""


class RunError(TamisError, RuntimeError):
    """The run failed for a reason outside config and input."""


class BalanceError(RunError):
    """The number of records read isn't selected + rejected + errors."""


class DamagedError(RunError):
    """A file of the run's work folder is missing or isn't what was written; `path` names it."""

    def __init__(self, path: str, why: str):
        self.path = path
        self.why = why
        super().__init__(f"{path} is damaged ({why})")

    def __reduce__(self) -> tuple[type["DamagedError"], tuple[str, str]]:
        return type(self), (self.path, self.why)
