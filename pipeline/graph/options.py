"""Beam's options as a user gives them, refused when they are mistyped: Beam itself drops what it doesn't know."""

import difflib
from collections.abc import Sequence
from typing import Any, NoReturn

from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError

__all__ = ["check_options"]

WITH_OPTIONS_OF_THEIR_OWN = ("FlinkRunner", "SparkRunner", "PortableRunner")
"""Their job servers know options that Beam's Python side doesn't, such as `--parallelism`."""
MISTYPED = 0.8
"""So like a known option that it must be meant."""


def check_options(runner: str, options: Sequence[str]) -> None:
    """Refuse Beam options that are unknown, or whose values can't be.

    Args:
        runner: the runner's name.
        options: as on Beam's command line.

    Raises:
        ConfigError: naming the option, and the nearest known one.
    """
    if not options:
        return
    from apache_beam.options import pipeline_options

    class Parser(pipeline_options._BeamArgumentParser):
        def error(self, message: str) -> NoReturn:
            """Raise what would be printed together with hundreds of lines of usage."""
            msg = f"Beam options: {message}"
            raise ConfigError(msg)

    parser: Any = Parser(allow_abbrev=False, add_help=False)
    for kind in {str(kind): kind for kind in pipeline_options.PipelineOptions.__subclasses__()}.values():
        kind._add_argparse_args(parser)
    known = [name for name in parser._option_string_actions if name.startswith("--")]
    before = ""
    for word in parser.parse_known_args(list(options))[1]:
        name = word.partition("=")[0]
        if not word.startswith("-"):
            if before and "=" not in before:  # the value of an unknown option that may pass
                before = ""
                continue
            msg = f"Beam options: unexpected {word!r}: an option is written --name=value"
            raise ConfigError(msg)
        before = word
        if runner in WITH_OPTIONS_OF_THEIR_OWN and not difflib.get_close_matches(name, known, n=1, cutoff=MISTYPED):
            continue
        meant = nearest(f"--{name.lstrip('-').replace('-', '_')}", known)
        msg = f"Beam has no option {name}{meant if meant.startswith('; did') else ''}"
        raise ConfigError(msg)
