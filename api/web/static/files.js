// What can be taken away: the service's own answers as JSON, and the device table as CSV.

const quoted = (value) => {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; // spreadsheets run formulas
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

export function asJson(models) {
  const entries = models.map(({ name, report, inspection }) => ({ name, report, inspection }));
  return `${JSON.stringify({ schema_version: models[0].report.schema_version, models: entries }, null, 1)}\n`;
}

export function asCsv(models) {
  const lines = [["model", "model_id", "device", "metric", "unit", "value", "low", "high", "level", "reason", "in_distribution"]];
  for (const { name, id, report } of models) {
    for (const { device, metrics, in_distribution } of report.predictions) {
      for (const [metric, found] of Object.entries(metrics)) {
        const { unit, value, low, high, level, reason } = found;
        lines.push([name, id, device, metric, unit, value, low, high, level, reason, in_distribution]);
      }
    }
  }
  return lines.map((line) => line.map(quoted).join(",")).join("\r\n").concat("\r\n");
}

export function save(text, type, name) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
