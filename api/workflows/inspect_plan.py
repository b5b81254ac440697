"""The memory plan of a model, or why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfsage.errors import InvalidInputError

if TYPE_CHECKING:
    from perfsage.graph import Graph
    from perfsage.graph.memory_plan import MemoryPlan


def plan_of(graph: Graph) -> tuple[MemoryPlan | None, str | None]:
    """Return the plan, or None and the reason (a tensor without a fixed size, say)."""
    from perfsage.graph.memory_plan import plan_memory

    try:
        return plan_memory(graph), None
    except InvalidInputError as error:
        return None, str(error)


def plan_dict(plan: MemoryPlan) -> dict[str, Any]:
    """Return the JSON form: the peak, where it is, what is alive at each step, and every buffer."""
    peak = plan.peak_operator
    return {
        "peak_bytes": plan.peak_bytes,
        "peak_operator": peak and {"subgraph": peak.subgraph, "index": peak.index},
        "steps": [
            {"subgraph": step.subgraph, "operator": step.operator, "live_bytes": live}
            for step, live in zip(plan.steps, plan.live_bytes.tolist(), strict=True)
        ],
        "buffers": [
            {
                "subgraph": buffer.subgraph,
                "tensor": buffer.tensor,
                "operator": buffer.operator,
                "offset_bytes": buffer.offset_bytes,
                "size_bytes": buffer.size_bytes,
                "first_step": buffer.first_step,
                "last_step": buffer.last_step,
            }
            for buffer in plan.buffers
        ],
    }
