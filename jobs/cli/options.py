"""Options and settings that several commands share."""

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from tamis.schemas.errors import ConfigError

__all__ = [
    "AsJson",
    "BeamOptions",
    "Fresh",
    "Output",
    "Quiet",
    "RunFolder",
    "Runner",
    "Set",
    "Workers",
    "checked_beam_options",
    "examples",
    "group",
]

Workers = Annotated[int, typer.Option("--workers", "-w", min=1, metavar="N", help="Local worker processes.")]
Runner = Annotated[str, typer.Option(metavar="NAME", help="Beam runner; FnApiRunner is local.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but warnings and errors.")]
Fresh = Annotated[bool, typer.Option("--fresh/--resume", help="Forget what was left, or go on.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a dotted key; may be repeated.")
]
Output = Annotated[str | None, typer.Option("--output", "-o", metavar="FOLDER", help="Overrides output.path.")]
RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="A finished run's folder.")]
BeamOptions = Annotated[list[str] | None, typer.Argument(metavar="-- BEAM_OPTION", help="Beam options, after --.")]


def checked_beam_options(options: list[str]) -> list[str]:
    """Return Beam options as they were given after --.

    Raises:
        ConfigError: if they name a runner, or the first is no option.
    """
    named = [option for option in options if option.startswith("--runner")]
    if named:
        msg = f"{named[0]}: give --runner before the --, not among the Beam options"
        raise ConfigError(msg)
    strange = [option for option in options if not option.startswith("-")]
    if strange and strange[0] == options[0]:
        msg = f"unexpected argument {strange[0]!r}: Beam options go after --, such as -- --region=europe-west1"
        raise ConfigError(msg)
    return options


F = TypeVar("F", bound=Callable[..., Any])
_TYPE = re.compile(r" <(?:str|path|list\[str\])>")


class _Command(TyperCommand):
    """A command whose help names its arguments as other programs do: CONFIG, not {CONFIG} <str>."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def get_help(self, ctx: Any) -> str:
        return _TYPE.sub(lambda found: " " * len(found[0]), super().get_help(ctx))


class _Group(TyperGroup):
    """A group of commands that says when a person stopped one."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; Ctrl-C is a sentence and the status 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)
            raise typer.Exit(130) from None


class _DefaultGroup(_Group):
    """A group that takes what isn't the name of a command as the first argument of one of them."""

    default = "make"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name where it was left out."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


class _Typer(typer.Typer):
    """Makes commands of our own class."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[F], F]:
        return super().command(name, cls=_Command, **options)


def group(
    name: str | None = None,
    *,
    about: str,
    epilog: str | None = None,
    completion: bool = False,
    with_default: bool = False,
) -> typer.Typer:
    """Return a group of commands: -h beside --help, plain text without markup, no tracebacks of Typer's own.

    Args:
        name: of the program.
        about: what help says of it.
        epilog: the end of its help.
        completion: options that install completion.
        with_default: what isn't a command's name is the first argument of the command `make`.
    """
    return _Typer(
        name=name,
        cls=_DefaultGroup if with_default else _Group,
        help=about,
        epilog=epilog,
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def examples(*lines: str) -> str:
    """Return the end of a command's help: one example a line, not folded."""
    told: Sequence[str] = [f"  {line}" for line in lines]
    return "\b\nExamples:\n" + "\n".join(told)
