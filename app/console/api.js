// The API: requests to /v1 with the key, and every failure as one kind of error with a sentence.
// Knows addresses and problems; knows nothing of what is shown.

import { askForKey, currentKey } from "./key.js";
import { events } from "./events.js";

/** A request that failed; `detail` is a sentence for a person. */
export class Problem extends Error {
  constructor(detail, status = 0, retryAfter = 0) {
    super(detail);
    this.name = "Problem";
    this.detail = detail;
    this.status = status;
    this.retryAfter = retryAfter; // seconds, where the service says so
  }
}

/** The response to a request, when it is a good one. Raises Problem, and AbortError when aborted. */
export async function request(path, { method = "GET", json, form, accept, signal, once } = {}) {
  const headers = {};
  // Sent again under the same name it gets the first answer.
  if (once) headers["Idempotency-Key"] = once;
  const key = currentKey();
  if (key) headers.Authorization = `Bearer ${key}`;
  if (accept) headers.Accept = accept;
  if (json !== undefined) headers["Content-Type"] = "application/json";
  const body = json === undefined ? form : JSON.stringify(json);
  let response;
  try {
    // Relative, so that the console also works below a path of a proxy.
    response = await fetch(`v1/${path}`, { method, headers, body, signal, cache: "no-store" });
  } catch (error) {
    throw asProblem(error);
  }
  if (response.ok) return response;
  if (response.status === 401) askForKey();
  throw await problemOf(response);
}

/** The JSON that a request is answered with. */
export async function getJson(path, options) {
  return (await request(path, options)).json();
}

/** The server-sent events that a request is answered with, one after the other, as {event, data}. */
export async function* stream(path, options) {
  const response = await request(path, options);
  try {
    for await (const { event, data } of events(response.body)) yield { event, data: JSON.parse(data) };
  } catch (error) {
    throw asProblem(error);
  }
}

/** Path parts, with whatever they hold escaped. */
export function path(...parts) {
  return parts.map(encodeURIComponent).join("/");
}

function asProblem(error) {
  if (error.name === "AbortError" || error instanceof Problem) return error;
  return new Problem("The service does not answer. Check that it runs, then try again.");
}

async function problemOf(response) {
  try {
    const body = await response.json();
    const after = Number(response.headers.get("Retry-After")) || 0;
    if (body.detail) return new Problem(body.detail, response.status, after);
  } catch {
    // Not a problem of the service's own: perhaps of a proxy in between.
  }
  return new Problem(`The service answered with ${response.status}. Try again in a moment.`, response.status);
}
