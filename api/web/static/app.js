// The page's state and events: files in, views out, everything in the address that a link has to say.

import { byId, el, narrow, options } from "./dom.js";
import { METRICS } from "./format.js";
import { asCsv, asJson, save } from "./files.js";
import { info, readFile, readShared, share, useKey } from "./service.js";
import { metricsOf, showDevices, showDoubts, showMemory, showModels, showOperators } from "./views.js";

const MOST_MODELS = 2;
let models = [];
let round = 0;

const say = (text) => { byId("status").textContent = text; };

function complain(error) {
  const text = [error.name && error.name !== "Error" ? `${error.name}: ` : "", error.message, error.hint ? ` ${error.hint}` : ""].join("");
  byId("problems").append(el("p", { class: "problem" }, error.title ? el("strong", {}, `${error.title}. `) : null, text));
  if (error.status === 401 || error.status === 403) byId("key-form").hidden = false;
}

async function show(readings, text) {
  const mine = ++round;
  byId("problems").replaceChildren();
  say(text);
  const settled = await Promise.allSettled(readings);
  if (mine !== round) return;
  settled.filter((item) => item.status === "rejected").forEach((item) => complain(item.reason));
  const found = settled.filter((item) => item.status === "fulfilled").map((item) => item.value);
  if (!found.length) { say(""); return; }
  models = [...models, ...found].slice(-MOST_MODELS);
  render();
  say(`${models.map(({ name }) => name).join(" and ")}: ${models[0].report.predictions.length} devices.`);
}

function render() {
  byId("results").hidden = false;
  byId("link").hidden = true;
  const { predictor } = models[0].report;
  byId("predictor").textContent = `Predictor ${predictor.name}, version ${predictor.version.slice(0, 12)}, trained on ${predictor.trained_on_graphs.toLocaleString("en")} networks`;
  const names = models.map(({ name }, number) => [String(number), name]);
  options(byId("order"), [["name", "name"], ...metricsOf(models).map((metric) => [metric, METRICS[metric].toLowerCase()])], byId("order").value || "latency_ms");
  options(byId("operator-device"), models[0].report.predictions.map(({ device }) => [device, device]), byId("operator-device").value);
  for (const id of ["operator-model", "memory-model"]) {
    options(byId(id), names, byId(id).value);
    byId(id).parentElement.hidden = names.length < 2;
  }
  showModels(models);
  showDoubts(models);
  devices();
  operators(false);
  memory();
}

const chosen = (id) => models[Number(byId(id).value)] ?? models[0];
const devices = () => showDevices(models, byId("filter").value, byId("order").value);
const operators = (all) => showOperators(chosen("operator-model"), byId("operator-device").value, all);
const memory = () => showMemory(chosen("memory-model"));

function take(files) {
  const wanted = [...files].slice(0, MOST_MODELS);
  if (!wanted.length) return;
  if (wanted.length === MOST_MODELS) models = [];
  show(wanted.map(readFile), `Reading ${wanted.map(({ name }) => name).join(" and ")} …`);
}

async function makeLink() {
  try {
    await Promise.all(models.map(share));
  } catch (error) {
    complain(error);
    return;
  }
  const parts = models.flatMap(({ id, name }) => [["model", id], ["name", name]]);
  history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
  const link = byId("link");
  link.value = location.href;
  link.hidden = false;
  link.select();
  const copied = await navigator.clipboard?.writeText(link.value).then(() => true, () => false);
  say(`The link is ${copied ? "copied" : "ready"}. The service keeps the models' structure, without their weights.`);
}

function openLink() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const ids = wanted.getAll("model").filter((id) => /^[0-9a-f]{64}$/.test(id)).slice(0, MOST_MODELS);
  if (!ids.length) return;
  models = [];
  const names = wanted.getAll("name");
  show(ids.map((id, number) => readShared(id, (names[number] || id.slice(0, 12)).slice(0, 200))), "Opening the shared view …");
}

function start() {
  const theme = byId("theme");
  theme.value = localStorage.getItem("theme") ?? "auto";
  const paint = () => { document.documentElement.dataset.theme = theme.value; };
  theme.addEventListener("change", () => { localStorage.setItem("theme", theme.value); paint(); });
  paint();
  byId("files").addEventListener("change", (event) => { take(event.target.files); event.target.value = ""; });
  const drop = byId("drop");
  const over = (on) => (event) => { event.preventDefault(); drop.classList.toggle("over", on); };
  for (const [name, on] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) document.addEventListener(name, over(on));
  document.addEventListener("drop", (event) => take(event.dataTransfer.files));
  byId("key-form").addEventListener("submit", (event) => { event.preventDefault(); useKey(byId("key").value.trim()); say("The key is used from now on."); openLink(); });
  byId("filter").addEventListener("input", devices);
  byId("order").addEventListener("change", devices);
  byId("operator-device").addEventListener("change", () => operators(false));
  byId("operator-model").addEventListener("change", () => operators(false));
  byId("more-operators").addEventListener("click", () => operators(true));
  byId("memory-model").addEventListener("change", memory);
  byId("share").addEventListener("click", makeLink);
  byId("save-json").addEventListener("click", () => save(asJson(models), "application/json", "perfsage.json"));
  byId("save-csv").addEventListener("click", () => save(asCsv(models), "text/csv", "perfsage.csv"));
  byId("clear").addEventListener("click", () => { location.href = "/"; });
  window.addEventListener("hashchange", openLink);
  narrow.addEventListener("change", () => { if (models.length) { devices(); operators(false); memory(); } });
  info().then((found) => { byId("key-form").hidden = !found.keys_required; }, (error) => { if (error.status === 401) byId("key-form").hidden = false; else complain(error); });
  openLink();
}

start();
