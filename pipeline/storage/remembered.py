"""What this process knows of files on remote stores: what it read or wrote of late, and which files folders have.

Each request to a store costs money and time. Work files never change under their names within a run, so what was read
once needn't be asked for again. A folder that was listed before a run began to fill it saves one request for each file
of which it would be asked whether it is there, in it and in all folders that it hadn't. Both are bounded; who knows
nothing asks.
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
        mark: of the listings that another process told, empty if none did.
    """

    def __init__(
        self, most_bytes: int = 64 << 20, largest: int = 16 << 20, most_folders: int = 64, most_names: int = 10_000
    ):
        self._most_bytes = most_bytes
        self.largest = largest
        self._most_folders = most_folders
        self._most_names = most_names
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._folders: OrderedDict[str, set[str] | None] = OrderedDict()
        self._lock = threading.Lock()
        self.mark = ""

    def clear(self) -> None:
        """Forget everything: another run begins, and others may have written meanwhile."""
        with self._lock:
            self._contents.clear()
            self._folders.clear()
            self._bytes = 0
            self.mark = ""

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
            self._folder_of(path)
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
        """Keep the names of a folder's files and folders."""
        with self._lock:
            self._list(folder, names)

    def absent(self, path: str) -> bool:
        """Return whether a file can't be there: its folder, or one above, was listed and hadn't it.

        Nobody in this process has written it since.
        """
        with self._lock:
            names = self._folder_of(path)
            return names is not None and path.rpartition("/")[2] not in names

    def _list(self, folder: str, names: set[str]) -> None:
        self._folders[folder] = names if len(names) <= self._most_names else None
        while len(self._folders) > self._most_folders:
            self._folders.popitem(last=False)

    def _folder_of(self, path: str) -> set[str] | None:
        """Return the names in a file's folder, none where one above hadn't it; None if they aren't known."""
        folder = path.rpartition("/")[0]
        below: str | None = None
        above = folder
        while "/" in above and above not in self._folders:
            above, _, below = above.rpartition("/")
        if above not in self._folders:
            return None
        self._folders.move_to_end(above)
        names = self._folders[above]
        if below is None or names is None:
            return names
        if below in names:
            return None
        for name in folder.removeprefix(f"{above}/").split("/"):  # known by themselves, whatever this process writes
            above = f"{above}/{name}"
            self._list(above, set())
        return self._folders[folder]

    def _drop(self, path: str) -> None:
        content = self._contents.pop(path, None)
        if content is not None:
            self._bytes -= len(content)
