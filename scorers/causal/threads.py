"""How many threads PyTorch computes on: the order of its sums, and so their last bits, follow from it."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["one_thread"]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread while the block runs: its sums have one order, and workers don't collide."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
