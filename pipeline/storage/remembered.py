"""What this process knows of files on remote stores: what it read or wrote of late, and which files folders have.

Each request to a store costs money and time. Work files never change under their names within a run, so what was read
once needn't be asked for again. A folder that was listed before a pass began to fill it saves one request for each file
of which it would be asked whether it is there. Both are bounded; who knows nothing asks.
"""

import threading
from collections import OrderedDict

__all__ = ["Remembered"]


class Remembered:
    """Contents and names of remote files.

    Args:
        most_bytes: of all contents together.
        largest: bytes of one content.
        most_folders: whose names are known at once.
        most_names: of one folder; what has more is asked for file by file.

    Attributes:
        largest: as given.
    """

    def __init__(
        self, most_bytes: int = 64 << 20, largest: int = 16 << 20, most_folders: int = 16, most_names: int = 10_000
    ):
        self._most_bytes = most_bytes
        self.largest = largest
        self._most_folders = most_folders
        self._most_names = most_names
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._folders: OrderedDict[str, set[str] | None] = OrderedDict()
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget everything: another run begins, and others may have written meanwhile."""
        with self._lock:
            self._contents.clear()
            self._folders.clear()
            self._bytes = 0

    def keep(self, path: str, content: bytes) -> None:
        """Keep a file's content, unless it is large; what was used longest ago goes first."""
        with self._lock:
            self._drop(path)
            if len(content) > self.largest:
                return
            self._contents[path] = content
            self._bytes += len(content)
            while self._bytes > self._most_bytes:
                self._bytes -= len(self._contents.popitem(last=False)[1])

    def content(self, path: str) -> bytes | None:
        """Return a file's content; None if it isn't known."""
        with self._lock:
            if path in self._contents:
                self._contents.move_to_end(path)
            return self._contents.get(path)

    def written(self, path: str) -> None:
        """Note that a file was written: another content, and a name that its folder has."""
        with self._lock:
            self._drop(path)
            while "/" in path:
                path, _, name = path.rpartition("/")
                names = self._folders.get(path)
                if names is not None:
                    names.add(name)

    def removed(self, path: str) -> None:
        """Note that a file, or all below a folder, was deleted."""
        with self._lock:
            for known in [one for one in self._contents if one == path or one.startswith(f"{path}/")]:
                self._drop(known)
            names = self._folders.get(path.rpartition("/")[0])
            if names is not None:
                names.discard(path.rpartition("/")[2])
            for folder in [one for one in self._folders if one == path or one.startswith(f"{path}/")]:
                del self._folders[folder]

    def list(self, folder: str, names: set[str]) -> None:
        """Keep the names of a folder's files."""
        with self._lock:
            self._folders[folder] = names if len(names) <= self._most_names else None
            while len(self._folders) > self._most_folders:
                self._folders.popitem(last=False)

    def listed(self, folder: str) -> bool:
        """Return whether a folder was listed, though its names may have been too many to keep."""
        with self._lock:
            if folder in self._folders:
                self._folders.move_to_end(folder)
            return folder in self._folders

    def absent(self, path: str) -> bool:
        """Return whether a file's folder was listed and hadn't it, and nobody in this process has written it since."""
        folder, _, name = path.rpartition("/")
        with self._lock:
            names = self._folders.get(folder)
            return names is not None and name not in names

    def _drop(self, path: str) -> None:
        content = self._contents.pop(path, None)
        if content is not None:
            self._bytes -= len(content)
