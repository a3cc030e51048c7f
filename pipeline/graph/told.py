"""What the driver tells workers before their tasks: what a run's folders held, so that nobody need ask again."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tamis.pipeline.graph.passes import Exchange, Graph, Node
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.filesystem import Listing

__all__ = ["told"]


def told(graph: Graph, listing: Listing) -> Graph:
    """Return a graph whose work knows what its folders held, in whatever process it is done."""
    if not listing.folders:
        return graph
    return Graph(tuple(_told(node, listing) for node in graph.nodes))


def _told(node: Node, listing: Listing) -> Node:
    if isinstance(node, Exchange):
        return replace(node, receive=_Knowing(node.receive, listing))
    return replace(node, process=_Knowing(node.process, listing))


@dataclass(frozen=True)
class _Knowing:
    """Work that begins with what its process should know."""

    work: Callable[..., Any]
    listing: Listing

    def __call__(self, *given: Any) -> Any:
        filesystem.know(self.listing)
        return self.work(*given)
