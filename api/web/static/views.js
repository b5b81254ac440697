// What the sections show of the models at hand.

import { barChart, intervalChart, legend } from "./charts.js";
import { byId, el } from "./dom.js";
import { METRICS, bytes, count, some } from "./format.js";
import { aliveAt, bufferName, memoryChart, stepName } from "./memory.js";
import { deviceTable, memoryTable, operatorTable } from "./tables.js";

const MOST_DEVICES = 40;

export function showModels(models) {
  byId("models").replaceChildren(el("div", { class: "cards" }, models.map(({ name, inspection }, number) => {
    const plan = inspection.memory_plan;
    const facts = [
      ["Operators", inspection.operators.length.toLocaleString("en")],
      ["MACs", count(inspection.macs) + (inspection.unknown_costs.length ? " and more" : "")],
      ["Parameters", count(inspection.parameters)],
      ["File", bytes(inspection.file_bytes)],
      ["Activation memory", plan.peak_bytes === null ? "unknown" : bytes(plan.peak_bytes)],
    ];
    return el("div", { class: "card" },
      el("h3", {}, el("span", { class: "key" }, legend(number), name)),
      el("dl", {}, facts.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value)))));
  })));
}

export function showDoubts(models) {
  const blocks = models.map(({ name, report }) => {
    const reasons = new Map();
    for (const { device, warnings } of report.predictions) {
      for (const warning of warnings) reasons.set(warning, [...(reasons.get(warning) ?? []), device]);
    }
    const total = report.predictions.length;
    const lines = [...reasons].map(([reason, devices]) => el("li", {},
      reason, devices.length < total ? ` (${devices.join(", ")})` : ""));
    if (!lines.length) return el("p", {}, `${name} is like the networks that the predictor learned from: the intervals hold.`);
    const away = report.predictions.some((prediction) => !prediction.in_distribution);
    const opening = away ? `${name} differs from what the predictor learned from, so take its figures with care:` : `About ${name}:`;
    return el("div", { class: "doubt" }, opening, el("ul", {}, lines));
  });
  byId("doubts").replaceChildren(...blocks);
}

function devicesOf(models, filter, order) {
  const names = [...new Set(models.flatMap(({ report }) => report.predictions.map(({ device }) => device)))];
  const rows = names.filter((name) => name.toLowerCase().includes(filter.toLowerCase())).map((device) => ({
    device, predictions: models.map(({ report }) => report.predictions.find((item) => item.device === device) ?? null),
  }));
  if (order === "name") return rows.sort((a, b) => a.device.localeCompare(b.device));
  const value = (row) => row.predictions[0]?.metrics[order]?.value ?? Infinity;
  return rows.sort((a, b) => value(a) - value(b) || a.device.localeCompare(b.device));
}

export function metricsOf(models) {
  return Object.keys(METRICS).filter((metric) => models.some(({ report }) => report.predictions.some((item) => metric in item.metrics)));
}

export function showDevices(models, filter, order) {
  const rows = devicesOf(models, filter, order);
  const metrics = metricsOf(models);
  const figures = metrics.map((metric) => {
    const known = rows.map(({ device, predictions }) => ({
      device,
      entries: predictions.map((item, number) => (item?.metrics[metric]?.value == null ? null
        : { device, model: models[number].name, value: item.metrics[metric], doubtful: !item.in_distribution })),
    })).filter(({ entries }) => entries.some(Boolean));
    const chart = intervalChart(metric, METRICS[metric], known.slice(0, MOST_DEVICES));
    const missing = rows.length - known.length;
    const notes = [missing ? `not available on ${missing}` : "", known.length > MOST_DEVICES ? `the first ${MOST_DEVICES} of ${known.length}` : ""].filter(Boolean);
    return chart && el("figure", {}, el("figcaption", {}, METRICS[metric], " ", el("span", { class: "note" }, notes.join("; "))), chart);
  });
  byId("charts").replaceChildren(...figures.filter(Boolean));
  deviceTable(byId("device-table"), metrics, models, rows);
}

export function showOperators(model, device, all) {
  const prediction = model.report.predictions.find((item) => item.device === device);
  const shares = new Map((prediction?.operators ?? []).map((o) => [`${o.subgraph}.${o.index}`, o.latency_ms]));
  const total = [...shares.values()].reduce((sum, value) => sum + value, 0);
  const rows = model.inspection.operators.map((operator) => {
    const latency = shares.get(`${operator.subgraph}.${operator.index}`) ?? null;
    return { ...operator, latency_ms: latency, share: latency === null || total === 0 ? null : latency / total };
  }).sort((a, b) => (b.latency_ms ?? 0) - (a.latency_ms ?? 0) || (b.macs ?? 0) - (a.macs ?? 0));
  const types = new Map();
  for (const row of rows) {
    if (row.latency_ms === null) continue;
    const [value, number] = types.get(row.type) ?? [0, 0];
    types.set(row.type, [value + row.latency_ms, number + 1]);
  }
  const bars = [...types].map(([name, [value, number]]) => ({ name, value, note: number === 1 ? "1 operator" : `${number} operators` })).sort((a, b) => b.value - a.value);
  byId("operator-chart").replaceChildren(bars.length
    ? el("figure", {}, el("figcaption", {}, `Latency on ${device} by operator type`), barChart(`Latency by operator type; the table lists each operator.`, bars.slice(0, 12), "latency_ms"))
    : el("p", { class: "soft" }, "No latency is predicted on this device, so operators are in the order of their MACs."));
  const isLonger = operatorTable(byId("operator-table"), rows, all);
  byId("more-operators").hidden = !isLonger || all;
}

export function showMemory({ inspection }) {
  const plan = inspection.memory_plan;
  const slider = byId("memory-step");
  slider.parentElement.hidden = plan.peak_bytes === null;
  if (plan.peak_bytes === null) {
    byId("memory-summary").textContent = `There is no plan: ${plan.reason}`;
    for (const id of ["memory-chart", "memory-table", "memory-now"]) byId(id).replaceChildren();
    return;
  }
  const peak = plan.steps.reduce((best, step, number) => (step.live_bytes > plan.steps[best].live_bytes ? number : best), 0);
  byId("memory-summary").textContent = `${bytes(plan.peak_bytes)} at its peak, planned as TensorFlow Lite Micro plans it; `
    + `most is alive at ${stepName(inspection, peak)}.`;
  const { chart, moveTo } = memoryChart(inspection);
  byId("memory-chart").replaceChildren(chart);
  const show = () => {
    const step = Number(slider.value);
    const alive = aliveAt(plan, step).sort((a, b) => b.size_bytes - a.size_bytes);
    const text = `${stepName(inspection, step)}: ${some(plan.steps[step].live_bytes, bytes)} in ${alive.length} buffers`;
    byId("memory-now").textContent = text;
    slider.setAttribute("aria-valuetext", text);
    memoryTable(byId("memory-table"), alive.slice(0, 50).map((buffer) => [bufferName(inspection, buffer), buffer]));
    moveTo(step);
  };
  slider.max = String(plan.steps.length - 1);
  slider.value = String(peak);
  slider.oninput = show;
  show();
}
