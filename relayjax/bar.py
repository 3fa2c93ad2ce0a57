"""The progress bar of long work: what is counted, how much is done, how long it will take."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def bar(what: str, console: Console, *figures: str, transient: bool = False) -> Progress:
    """A bar that shows itself on terminals only.

    Args:
      what: is counted, in a word.
      console: where to show it.
      figures: templates of what stands between the bar and the time that remains.
      transient: whether it goes away when the work is done.
    """
    return Progress(
        TextColumn(what),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        *(TextColumn(figure) for figure in figures),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=transient,
    )
