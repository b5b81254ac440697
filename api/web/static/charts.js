// Values with their intervals, one row a device; and bars, one row an operator type.

import { narrow, svg } from "./dom.js";
import { quantity } from "./format.js";
import { scale } from "./scale.js";

const ROW = 24;
const TOP = 22;

const layout = () => (narrow.matches
  ? { width: 340, wide: 340, left: 116, right: 66, behind: 116, letters: 14, ticks: 2 }
  : { width: 620, wide: 1100, left: 150, right: 84, behind: 210, letters: 22, ticks: 4 });

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function axis(metric, ruler, height) {
  return ruler.ticks.flatMap((tick) => {
    const x = ruler.at(tick);
    return [
      svg("line", { class: "grid", x1: x, x2: x, y1: TOP - 4, y2: height }),
      svg("text", { class: "soft", x, y: 12, "text-anchor": "middle" }, tick ? quantity(metric, tick) : "0"),
    ];
  });
}

function mark(number, x, y, doubtful) {
  const look = `model-${number}${doubtful ? " doubtful" : ""}`;
  if (number === 0) return svg("circle", { class: look, cx: x, cy: y, r: 5 });
  return svg("path", { class: look, d: `M${x} ${y - 6}l6 6l-6 6l-6 -6z` });
}

function row(metric, entry, number, ruler, y, { width, left, right }) {
  const { value, low, high, level } = entry.value;
  const text = `${entry.device}, ${entry.model}: ${quantity(metric, value)}`
    + (high > low ? `, ${Math.round(level * 100)} % between ${quantity(metric, low)} and ${quantity(metric, high)}` : ", exact")
    + (entry.doubtful ? "; unlike what the predictor learned from" : "");
  const clamp = (place) => Math.min(Math.max(place, left), width - right + 8);
  return svg("g", {},
    svg("title", {}, text),
    svg("line", { class: `range model-${number}`, x1: clamp(ruler.at(low)), x2: clamp(ruler.at(high)), y1: y, y2: y }),
    mark(number, ruler.at(value), y, entry.doubtful),
    svg("text", { x: width, y: y + 4, "text-anchor": "end" }, quantity(metric, value)));
}

// `rows` are devices with one entry a model: {device, entries: [{device, model, value, doubtful} or null]}.
export function intervalChart(metric, title, rows) {
  const known = rows.flatMap((item) => item.entries.filter((entry) => entry !== null));
  if (!known.length) return null;
  const place = layout();
  const { width, left, right } = place;
  const ruler = scale(known.flatMap(({ value }) => [value.value, Math.max(value.low, value.value / 30), Math.min(value.high, value.value * 30)]), left, width - right, { binary: metric.endsWith("_bytes"), wantedTicks: place.ticks });
  const models = Math.max(...rows.map((item) => item.entries.length));
  const height = TOP + rows.length * ROW * models;
  const least = known.reduce((a, b) => (b.value.value < a.value.value ? b : a));
  const most = known.reduce((a, b) => (b.value.value > a.value.value ? b : a));
  const label = `${title} on ${rows.length} devices, ${ruler.kind} axis: from ${quantity(metric, least.value.value)} on ${least.device}`
    + ` to ${quantity(metric, most.value.value)} on ${most.device}. The table has every value.`;
  const parts = rows.map((item, number) => {
    const top = TOP + number * ROW * models;
    const name = svg("text", { x: left - 10, y: top + (ROW * models) / 2 + 4, "text-anchor": "end" }, svg("title", {}, item.device), cut(item.device, place.letters));
    return [name, ...item.entries.map((entry, model) => entry && row(metric, entry, model, ruler, top + ROW * (model + 0.5), place))];
  });
  return svg("svg", { viewBox: `0 0 ${width} ${height + 6}`, role: "img", "aria-label": label, "data-axis": ruler.kind }, axis(metric, ruler, height), parts.flat());
}

export function barChart(label, bars, metric) {
  const { wide, left, behind, letters } = layout();
  const total = bars.reduce((sum, bar) => sum + bar.value, 0);
  const most = Math.max(...bars.map((bar) => bar.value), Number.MIN_VALUE);
  const long = (value) => ((wide - left - behind) * value) / most;
  return svg("svg", { viewBox: `0 0 ${wide} ${bars.length * ROW + 6}`, role: "img", "aria-label": label },
    bars.map((bar, place) => {
      const y = place * ROW;
      const share = total > 0 ? `${Number(((bar.value / total) * 100).toPrecision(3))} %` : "";
      return svg("g", {},
        svg("title", {}, `${bar.name}: ${quantity(metric, bar.value)}, ${share}, ${bar.note}`),
        svg("text", { x: left - 10, y: y + 16, "text-anchor": "end" }, cut(bar.name, letters)),
        svg("rect", { class: "bar model-0", x: left, y: y + 4, width: Math.max(long(bar.value), 1), height: ROW - 8, rx: 2 }),
        svg("text", { x: left + long(bar.value) + 8, y: y + 16 }, [quantity(metric, bar.value), share, narrow.matches ? "" : bar.note].filter(Boolean).join(" · ")));
    }));
}

export function legend(number) {
  return svg("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, mark(number, 7, 7, false));
}
