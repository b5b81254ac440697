"""The live view of a collection, on stderr: a bar, the rate, the time left, failures by reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.cli.console import printable, progress, stderr
from api.workflows.collect import Collection, Progress, check, collect
from dataset.store import Store

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

MOST_REASONS = 6


def collect_with_view(request: Collection, database: str) -> Progress:
    """Run a collection with its view."""
    from rich.live import Live

    check(request)  # before a database is made for nothing
    bar = progress("measurements")
    console = stderr()
    with (
        Store.open(database) as store,
        _ending_its_line(console),
        Live(bar, console=console, refresh_per_second=4) as live,
    ):
        task = bar.add_task(_title(request), total=None, note="")

        def show(state: Progress) -> None:
            bar.update(
                task,
                completed=state.done,
                total=state.total,
                note=f"{state.per_second:.1f}/s" if state.measured else "",
            )
            live.update(_view(bar, state))

        return collect(request, store, on_progress=show)


@contextmanager
def _ending_its_line(console: Console) -> Iterator[None]:
    """End the line of a view that was written to a file, which rich does for terminals only."""
    try:
        yield
    finally:
        if not console.is_terminal:
            console.line()


def _title(request: Collection) -> str:
    spaces = request.spaces[0] if len(request.spaces) == 1 else f"{len(request.spaces)} spaces"
    return f"{spaces} {'+'.join(request.dtypes)}"


def _view(bar: RenderableType, state: Progress) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    lines: list[RenderableType] = [bar]
    if state.duplicate_networks:
        lines.append(Text(f"{state.duplicate_networks} duplicates left out"))
    for reason, times in state.failures.most_common(MOST_REASONS):
        lines.append(Text(f"{times} x {printable(reason)}", overflow="ellipsis", no_wrap=True))
    if len(state.failures) > MOST_REASONS:
        lines.append(Text(f"and {len(state.failures) - MOST_REASONS} other reasons"))
    return Group(*lines)
