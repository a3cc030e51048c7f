"""Carries out `tamis ui`."""

import webbrowser

from tamis.jobs.cli.console import error_console, say
from tamis.jobs.ui.server import Server
from tamis.jobs.ui.store import Store

__all__ = ["show_ui"]


def show_ui(run: str, *, port: int = 0, view: str = "", browser: bool = True) -> None:
    """Serve the page of a run to this machine until the user stops it.

    Args:
        run: the run's folder.
        port: of the loopback interface; any free one if 0.
        view: the state of a page, as the address of one ends.
        browser: open it in the user's browser.

    Raises:
        ConfigError: if the port is taken.
        RunError: if the folder holds no finished run.
    """
    say(f"reading {run}", error_console())
    store = Store(run)
    server = Server(store, port)
    address = server.address(view)
    say(f"{address}\nonly this machine can open it, with this token; Ctrl-C stops it")
    if browser:
        webbrowser.open(address)
    try:
        server.serve()
    except KeyboardInterrupt:
        say("stopped", error_console())
    finally:
        store.close()
