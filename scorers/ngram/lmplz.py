"""KenLM's own estimator, for corpora larger than memory: found on the PATH, run as a program."""

import shutil
import subprocess
from pathlib import Path

from tamis.schemas.errors import ConfigError, DataError

__all__ = ["find_lmplz", "run_lmplz"]


def find_lmplz() -> Path | None:
    """Return the `lmplz` on the PATH, if there is one."""
    found = shutil.which("lmplz")
    return None if found is None else Path(found)


def run_lmplz(
    text: Path,
    arpa: Path,
    *,
    order: int,
    discount_fallback: bool | tuple[float, float, float],
    skip_symbols: bool,
    memory: str = "50%",
) -> None:
    """Estimate a model from a file with a sentence a line, and write it as ARPA.

    Args:
        text: the sentences.
        arpa: the file to write.
        order: the longest n-grams.
        discount_fallback: as in `tamis.scorers.ngram.estimate.estimate`.
        skip_symbols: likewise.
        memory: lmplz's `-S`: a size such as `4G`, or a share of the machine's memory.

    Raises:
        ConfigError: if there is no lmplz on the PATH.
        DataError: if it fails; the message ends with its own.
    """
    program = find_lmplz()
    if program is None:
        msg = "there is no lmplz on the PATH; build it from KenLM's source, or let Tamis estimate the model itself"
        raise ConfigError(msg)
    command = [
        str(program),
        "-o",
        str(order),
        "-S",
        memory,
        "-T",
        str(arpa.parent),
        "--text",
        str(text),
        "--arpa",
        str(arpa),
    ]
    if discount_fallback is not False:
        numbers = [] if discount_fallback is True else [str(discount) for discount in discount_fallback]
        command += ["--discount_fallback", *numbers]
    if skip_symbols:
        command.append("--skip_symbols")
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # found on the PATH on request
    if done.returncode:
        last = " ".join(done.stderr.split("\n")[-6:]).strip()
        msg = f"lmplz failed on {text}: {last}"
        raise DataError(msg)
