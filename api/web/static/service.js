// The service this page came from. A refusal becomes an error with the problem's own words.

let key = "";

export function useKey(text) {
  key = text;
}

export class Problem extends Error {
  constructor(body, name) {
    super(body.detail ?? "The service could not answer.");
    Object.assign(this, { status: body.status, title: body.title, hint: body.hint, where: body.where, type: body.type, name });
  }
}

async function call(path, init = {}, name = null) {
  const headers = { Accept: "application/json", ...init.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...init, headers, cache: "no-store", credentials: "omit" });
  } catch {
    throw new Problem({ title: "No answer", detail: "The service cannot be reached.", hint: "Check that it still runs." }, name);
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Problem({ status: response.status, ...body }, name);
  return body;
}

const binary = (data) => ({ method: "POST", body: data, headers: { "Content-Type": "application/octet-stream" } });

export const info = () => call("/v1/info");

async function model(name, predicting, inspecting) {
  const [report, inspection] = await Promise.all([predicting, inspecting]);
  return { name, id: report.predictions[0]?.model.model_id ?? inspection.model_id, report, inspection, data: null };
}

export async function readFile(file) {
  const data = await file.arrayBuffer();
  const found = await model(
    file.name,
    call("/v1/predictions", binary(data), file.name),
    call("/v1/inspect", binary(data), file.name),
  );
  return { ...found, data };
}

export function readShared(id, name) {
  const path = `/v1/models/${encodeURIComponent(id)}`;
  return model(name, call(`${path}/predictions`, {}, name), call(`${path}/inspection`, {}, name));
}

export async function share(shown) {
  if (shown.data === null) return;
  await call(`/v1/models/${shown.id}`, { ...binary(shown.data), method: "PUT" }, shown.name);
}
