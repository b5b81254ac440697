"""A memory plan as a picture: time to the right, addresses upwards, one patch a buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from api.cli.console import printable
from api.cli.figures import bytes_figure

if TYPE_CHECKING:
    from rich.text import Text

    from perfsage.graph import Graph
    from perfsage.graph.memory_plan import MemoryPlan, PlannedBuffer

PALETTE = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#9c755f")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
ROWS = 16
PEAK_BUFFERS = 12
PLOT_WIDTH, PLOT_HEIGHT = 960, 420
LEFT, TOP, BOTTOM = 90, 40, 50


def text_picture(plan: MemoryPlan, *, width: int) -> Text:
    """Return the plan as lines of `width` characters; a letter and a colour stand for a buffer."""
    from rich.text import Text

    columns = min(len(plan.steps), max(1, width - 12))
    cells = _cells(plan, columns)
    picture = Text()
    for row in reversed(range(ROWS)):
        top = plan.peak_bytes * (row + 1) / ROWS
        picture.append(f"{bytes_figure(top):>11} " if row % 5 == 0 or row == ROWS - 1 else " " * 12)
        for buffer in cells[row]:
            _append_cell(picture, buffer, width=max(1, min(4, (width - 12) // columns)))
        picture.append("\n")
    return picture.append(f"{'':12}operators 0 to {len(plan.steps) - 2} in the file's order")


def peak_text(plan: MemoryPlan, graph: Graph) -> Text:
    """Return what makes the peak: the operator, and the buffers alive there, with the picture's letters."""
    from rich.text import Text

    live = plan.live_bytes
    step = int(live.argmax())
    lines = Text(f"Most is alive {_when(plan, graph)}: {bytes_figure(int(live[step]))}\n")
    numbered = enumerate(plan.buffers)
    alive = [(n, buffer) for n, buffer in numbered if buffer.first_step <= step <= buffer.last_step]
    alive.sort(key=lambda entry: -entry[1].size_bytes)
    for number, buffer in alive[:PEAK_BUFFERS]:
        lines.append("  ")
        _append_cell(lines, number, width=1)
        lines.append(f" {bytes_figure(buffer.size_bytes):>11}  {_name(graph, buffer)}\n")
    if len(alive) > PEAK_BUFFERS:
        lines.append(f"  and {len(alive) - PEAK_BUFFERS} smaller ones\n")
    return lines


def _when(plan: MemoryPlan, graph: Graph) -> str:
    operator = plan.peak_operator
    if operator is None:
        return "before the first operator"
    kind = graph.subgraphs[operator.subgraph].operators[operator.index].type
    return f"at operator {operator.subgraph}.{operator.index} {printable(kind)}"


def _cells(plan: MemoryPlan, columns: int) -> list[list[int | None]]:
    """Return which buffer covers the middle of each cell: [row from the bottom][column]."""
    cells: list[list[int | None]] = [[None] * columns for _ in range(ROWS)]
    steps = len(plan.steps)
    for number, buffer in enumerate(plan.buffers):
        first, last = (max(0, step) * columns // steps for step in (buffer.first_step, buffer.last_step))
        for row in range(ROWS):
            middle = plan.peak_bytes * (row + 0.5) / ROWS
            if buffer.offset_bytes <= middle < buffer.offset_bytes + buffer.size_bytes:
                cells[row][first : last + 1] = [number] * (last + 1 - first)
    return cells


def _append_cell(picture: Text, buffer: int | None, *, width: int) -> None:
    if buffer is None:
        picture.append(" " * width)
    else:
        style = f"black on {PALETTE[buffer % len(PALETTE)]}"
        picture.append(LETTERS[buffer % len(LETTERS)] * width, style=style)


def svg_picture(plan: MemoryPlan, graph: Graph, title: str) -> str:
    """Return the plan as an SVG document; each buffer says its tensor, bytes and steps when pointed at."""
    steps = max(1, len(plan.steps))
    width, height = LEFT + PLOT_WIDTH + 20, TOP + PLOT_HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
        ' font-family="sans-serif" font-size="12">',
        f"<title>Memory plan of {escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}: {bytes_figure(plan.peak_bytes)} at its peak'
        "</text>",
        *_axes(plan),
        *(_patch(plan, graph, buffer, number, steps) for number, buffer in enumerate(plan.buffers)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _axes(plan: MemoryPlan) -> list[str]:
    lines = []
    for tick in range(5):
        y = TOP + PLOT_HEIGHT * (1 - tick / 4)
        label = bytes_figure(plan.peak_bytes * tick / 4)
        lines.append(f'<line x1="{LEFT}" x2="{LEFT + PLOT_WIDTH}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{label}</text>')
    x, y = LEFT + PLOT_WIDTH / 2, TOP + PLOT_HEIGHT + 32
    label = f"operators 0 to {len(plan.steps) - 2}, in the order of the file"
    return [*lines, f'<text x="{x}" y="{y}" text-anchor="middle">{label}</text>']


def _patch(plan: MemoryPlan, graph: Graph, buffer: PlannedBuffer, number: int, steps: int) -> str:
    first, last = max(0, buffer.first_step), max(0, buffer.last_step)
    scale = PLOT_HEIGHT / max(1, plan.peak_bytes)
    x, width = LEFT + PLOT_WIDTH * first / steps, PLOT_WIDTH * (last + 1 - first) / steps
    height = buffer.size_bytes * scale
    y = TOP + PLOT_HEIGHT - buffer.offset_bytes * scale - height
    note = f"{_name(graph, buffer)}: {buffer.size_bytes:,} bytes at {buffer.offset_bytes:,}"
    return (
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
        f' fill="{PALETTE[number % len(PALETTE)]}" stroke="white"><title>{escape(note)}</title></rect>'
    )


def _name(graph: Graph, buffer: PlannedBuffer) -> str:
    subgraph = graph.subgraphs[buffer.subgraph]
    if buffer.tensor is not None:
        return f"tensor {buffer.tensor} {printable(subgraph.tensors[buffer.tensor].name)}"
    assert buffer.operator is not None
    return f"scratch buffer of operator {buffer.operator} {subgraph.operators[buffer.operator].type}"
