"""What the Flex Template starts: turns the template's parameters into `tamis run`; all others are Beam's options."""

import argparse
import sys
from collections.abc import Sequence

__all__ = ["command", "main"]


def command(arguments: Sequence[str]) -> list[str]:
    """Return the command line of `tamis` for a launcher's arguments.

    Args:
        arguments: `--config`, `--output`, `--overrides` (KEY=VALUE, divided by semicolons), and Beam's options, among
            them the `--runner` and `--template_location` that the launcher adds.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--config", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--overrides", default="")
    parser.add_argument("--runner", default="DataflowRunner")
    given, beam = parser.parse_known_args(arguments)
    overrides = [part.strip() for part in given.overrides.split(";") if part.strip()]
    sets = [word for override in overrides for word in ("--set", override)]
    run = ["run", given.config, "--output", given.output, *sets, "--runner", given.runner, "--no-wait"]
    return [*run, "--", *beam]


def main() -> None:
    """Run it."""
    from tamis.jobs.cli.start import main as tamis

    sys.argv = ["tamis", *command(sys.argv[1:])]
    tamis()


if __name__ == "__main__":
    main()
