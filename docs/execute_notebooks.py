"""Runs the notebooks beside this file and writes into them what their cells print: `docs/execute_notebooks.py`."""

import copy
from pathlib import Path

import nbformat
from nbclient import NotebookClient

__all__ = ["execute", "main"]

ROOT = Path(__file__).resolve().parent.parent


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook's cells in a folder, in a kernel of this interpreter, and return it with what they printed.

    Raises:
        nbclient.exceptions.CellExecutionError: if one fails.
    """
    metadata = copy.deepcopy(notebook.metadata)
    done: nbformat.NotebookNode = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    done.metadata = metadata  # not the versions of this interpreter
    for cell in done.cells:
        cell.metadata.pop("execution", None)  # times of day
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return done


def main() -> None:
    """Run all, from the checkout."""
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        done = execute(nbformat.read(path, as_version=4), ROOT)
        text = nbformat.writes(done, indent=1)
        path.write_text(text.rstrip("\n") + "\n", "utf-8")


if __name__ == "__main__":
    main()
