"""How sentences count things, and what they say is to be installed."""

__all__ = ["counted", "install_extra"]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 file", "2 files", "2 entries"."""
    if number == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"
    return f"{number:,} {plural}"


def install_extra(extra: str) -> str:
    """Return what to type for an extra of Tamis, which installs from its checkout: no registry has it yet.

    Whoever took the name there would be installed by any other command.
    """
    return f"pip install '.[{extra}]' in tamis's checkout"
