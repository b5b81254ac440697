// The memory plan: operators to the right, addresses upwards, one patch a buffer.

import { narrow, svg } from "./dom.js";
import { bytes } from "./format.js";
import { scale } from "./scale.js";

const LEFT = 74;
const TOP = 14;
const BOTTOM = 30;
const MOST_PATCHES = 4000;

export function stepName(inspection, number) {
  const step = inspection.memory_plan.steps[number];
  if (step.operator === null) return number ? `entry of subgraph ${step.subgraph}` : "before the first operator";
  const operator = inspection.operators.find((o) => o.subgraph === step.subgraph && o.index === step.operator);
  return `operator ${step.subgraph ? `${step.subgraph}.` : ""}${step.operator} ${operator?.type ?? ""}`;
}

export function bufferName(inspection, buffer) {
  if (buffer.tensor === null) return `scratch memory of operator ${buffer.operator}`;
  for (const operator of inspection.operators) {
    if (operator.subgraph !== buffer.subgraph) continue;
    const place = operator.outputs.indexOf(buffer.tensor);
    if (place >= 0) return `output of ${operator.index} ${operator.type} (${operator.output_names[place] || `tensor ${buffer.tensor}`})`;
  }
  return `input or variable, tensor ${buffer.tensor}`;
}

export const aliveAt = (plan, step) => plan.buffers.filter((b) => b.first_step <= step && step <= b.last_step);

function patch(inspection, buffer, number, x, y) {
  const first = Math.max(0, buffer.first_step);
  const last = Math.max(0, buffer.last_step);
  const top = y(buffer.offset_bytes + buffer.size_bytes);
  return svg("rect", {
    class: `buffer hue-${number % 8}`, x: x(first), width: x(last + 1) - x(first), y: top, height: y(buffer.offset_bytes) - top,
  }, svg("title", {}, `${bufferName(inspection, buffer)}: ${bytes(buffer.size_bytes)} at ${bytes(buffer.offset_bytes)}`));
}

// Large plans show their largest buffers: a patch of less than a pixel says nothing.
function shown(plan) {
  if (plan.buffers.length <= MOST_PATCHES) return plan.buffers;
  return [...plan.buffers].sort((a, b) => b.size_bytes - a.size_bytes).slice(0, MOST_PATCHES);
}

export function memoryChart(inspection) {
  const plan = inspection.memory_plan;
  const [width, height] = narrow.matches ? [340, 220] : [1100, 340];
  const steps = Math.max(plan.steps.length, 1);
  const x = (step) => LEFT + ((width - LEFT) * step) / steps;
  const ruler = scale([0, plan.peak_bytes], TOP + height, TOP, { binary: true });
  const grid = ruler.ticks.flatMap((tick) => [
    svg("line", { class: "grid", x1: LEFT, x2: width, y1: ruler.at(tick), y2: ruler.at(tick) }),
    svg("text", { class: "soft", x: LEFT - 8, y: ruler.at(tick) + 4, "text-anchor": "end" }, bytes(tick)),
  ]);
  const cursor = svg("line", { class: "cursor", y1: TOP, y2: TOP + height });
  const peak = svg("line", { class: "peak", x1: LEFT, x2: width, y1: ruler.at(plan.peak_bytes), y2: ruler.at(plan.peak_bytes) });
  const chart = svg("svg", { viewBox: `0 0 ${width} ${TOP + height + BOTTOM}`, role: "img",
    "aria-label": `Memory plan: ${bytes(plan.peak_bytes)} at its peak over ${steps - 1} operators. The slider below goes through them.` },
  grid, shown(plan).map((buffer, number) => patch(inspection, buffer, number, x, ruler.at)), peak, cursor,
  svg("text", { class: "soft", x: (LEFT + width) / 2, y: TOP + height + 22, "text-anchor": "middle" }, "operators, in the order of the file"));
  const moveTo = (step) => {
    const middle = (x(step) + x(step + 1)) / 2;
    cursor.setAttribute("x1", middle);
    cursor.setAttribute("x2", middle);
  };
  return { chart, moveTo };
}
