// The same figures as the charts, as tables: nothing is only in a picture.

import { el } from "./dom.js";
import { METRICS, bytes, count, place, quantity, ratio, shape, some } from "./format.js";

const FEW_OPERATORS = 15;

function cell(metric, value, other) {
  if (value.value === null) return el("td", {}, el("span", {}, "not available"), el("small", {}, value.reason ?? ""));
  const exact = value.high === value.low;
  const range = exact ? "exact" : `${Math.round(value.level * 100)} %: ${quantity(metric, value.low)} – ${quantity(metric, value.high)}`;
  const against = other?.value ? el("small", {}, `${ratio(value.value / other.value)} the first model's`) : null;
  return el("td", { class: "number" }, quantity(metric, value.value), el("small", {}, range), against);
}

// `rows` are {device, predictions: one a model or null}.
export function deviceTable(table, metrics, models, rows) {
  const several = models.length > 1;
  const head = el("tr", {}, el("th", { scope: "col" }, "Device"), several ? el("th", { scope: "col" }, "Model") : null,
    metrics.map((metric) => el("th", { scope: "col", class: "number" }, METRICS[metric])), el("th", { scope: "col" }, "Known territory"));
  const body = rows.flatMap(({ device, predictions }) => predictions.map((prediction, number) => prediction && el("tr", {},
    number ? null : el("th", { scope: "rowgroup", rowspan: predictions.length }, device),
    several ? el("td", {}, models[number].name) : null,
    metrics.map((metric) => cell(metric, prediction.metrics[metric], number ? predictions[0]?.metrics[metric] : null)),
    el("td", {}, prediction.in_distribution ? "yes" : "no: see above"))));
  table.replaceChildren(el("caption", {}, `${rows.length} devices; each value with its interval`),
    el("thead", {}, head), el("tbody", {}, body.filter(Boolean)));
}

export function operatorTable(table, rows, all) {
  const listed = all ? rows : rows.slice(0, FEW_OPERATORS);
  const columns = ["Operator", "Type", "Latency", "Share", "MACs", "Parameters", "Read", "Written", "Inputs", "Outputs"];
  const body = listed.map((row) => el("tr", {},
    el("th", { scope: "row" }, place(row)), el("td", {}, row.type),
    el("td", { class: "number" }, some(row.latency_ms, (v) => quantity("latency_ms", v))),
    el("td", { class: "number" }, some(row.share, (v) => `${Number((v * 100).toPrecision(3))} %`)),
    [[row.macs, count], [row.parameters, count], [row.read_bytes, bytes], [row.written_bytes, bytes]]
      .map(([value, show]) => el("td", { class: "number" }, some(value, show))),
    el("td", {}, row.input_shapes.map(shape).join(", ")), el("td", {}, row.output_shapes.map(shape).join(", "))));
  table.replaceChildren(el("caption", {}, `${listed.length} of ${rows.length} operators, the most expensive first`),
    el("thead", {}, el("tr", {}, columns.map((name, number) => el("th", { scope: "col", class: number > 1 && number < 8 ? "number" : null }, name)))),
    el("tbody", {}, body));
  return rows.length > FEW_OPERATORS;
}

export function memoryTable(table, entries) {
  table.replaceChildren(el("caption", {}, "What is alive then, the largest first"),
    el("thead", {}, el("tr", {}, ["Buffer", "Size", "Address"].map((name, n) => el("th", { scope: "col", class: n ? "number" : null }, name)))),
    el("tbody", {}, entries.map(([name, buffer]) => el("tr", {}, el("th", { scope: "row" }, name),
      el("td", { class: "number" }, bytes(buffer.size_bytes)), el("td", { class: "number" }, bytes(buffer.offset_bytes))))));
}
