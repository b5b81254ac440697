// Numbers for people: three significant digits, with their unit.

export const METRICS = {
  latency_ms: "Latency",
  energy_mj: "Energy per inference",
  peak_memory_bytes: "Peak memory",
  storage_bytes: "Storage",
};

const BYTES = [[1 << 30, "GiB"], [1 << 20, "MiB"], [1 << 10, "KiB"]];
const COUNTS = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];

const digits = (value) => Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });

function scaled(value, steps, plain) {
  const [size, unit] = steps.find(([least]) => Math.abs(value) >= least) ?? [1, plain];
  return `${digits(value / size)}${unit ? ` ${unit}` : ""}`;
}

export const bytes = (value) => scaled(value, BYTES, "B");
export const count = (value) => scaled(value, COUNTS, "");

export function quantity(metric, value) {
  if (metric.endsWith("_bytes")) return bytes(value);
  if (metric === "latency_ms") {
    if (value < 0.1) return `${digits(value * 1e3)} µs`;
    return value >= 1e4 ? `${digits(value / 1e3)} s` : `${digits(value)} ms`;
  }
  return value < 0.1 ? `${digits(value * 1e3)} µJ` : `${digits(value)} mJ`;
}

export function ratio(value) {
  return `${value >= 10 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3))}×`;
}

export const shape = (sizes) => (sizes === null ? "–" : sizes.join("×") || "scalar");
export const place = ({ subgraph, index }) => (subgraph ? `${subgraph}.${index}` : `${index}`);
export const some = (value, show) => (value === null || value === undefined ? "unknown" : show(value));
