// Adding: files that are chosen or dropped, and pasted texts, sent to a collection one after the other.

import { getJson, Problem } from "./api.js";
import { byId } from "./element.js";
import { plural } from "./format.js";
import { calm, complain, say } from "./messages.js";

const MOST_WAITS = 20;
const LONGEST_WAIT = 60; // seconds
const MOST_TOLD = 3; // refusals, one sentence each

let sendings = 0;
let stopping = new AbortController();
let usual;

/**
 * Make the forms work; `onAccepted` is called with what the service answers for each document, and `onDone`
 * when all that were sent together have been.
 */
export function startAdding(onAccepted, onDone) {
  const files = byId("files");
  const drop = byId("drop");
  files.addEventListener("change", async () => {
    const chosen = [...files.files];
    await sendFiles(chosen, onAccepted, onDone);
    // So that the same file can be chosen again.
    files.value = "";
  });
  // A file that is dropped beside the field must not replace the page.
  for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
  drop.addEventListener("dragover", () => drop.classList.add("over"));
  drop.addEventListener("dragleave", (event) => {
    if (!drop.contains(event.relatedTarget)) drop.classList.remove("over");
  });
  window.addEventListener("drop", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => sendFiles([...event.dataTransfer.files], onAccepted, onDone));
  byId("paste-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sendText(event.target, onAccepted, onDone);
  });
}

async function sendFiles(files, onAccepted, onDone) {
  const collection = collectionField();
  if (!collection || !files.length) return;
  const hint = byId("files-hint");
  // More may be dropped while these are sent: the last to end says again what was there first.
  usual ??= hint.textContent;
  sendings += 1;
  const refused = [];
  const { signal } = stopping;
  calm();
  for (const [index, file] of files.entries()) {
    hint.textContent = `Sending ${index + 1} of ${files.length}: ${file.name}`;
    const form = new FormData();
    form.append("file", file);
    form.append("collection", collection);
    if (byId("files-by-name").checked) form.append("known_by", "name");
    try {
      onAccepted(await taken({ method: "POST", form, signal }));
    } catch (error) {
      if (error.name === "AbortError") break;
      refused.push(error.detail ? new Problem(`${file.name}: ${error.detail}`, error.status) : error);
      if (error.status === 401) break;
    }
  }
  sendings -= 1;
  if (!sendings) hint.textContent = usual;
  onDone();
  if (signal.aborted) return;
  if (refused.length < files.length) say(`${plural(files.length - refused.length, "document")} accepted.`);
  if (refused.length) complain(joined(refused));
}

/** Send nothing more of what was chosen: another key is another person's. */
export function stopSending() {
  stopping.abort();
  stopping = new AbortController();
}

/** What the service answers for a document, however often this key has to wait until it may send more. */
async function taken(options) {
  for (let waits = 0; ; waits += 1) {
    options.signal.throwIfAborted();
    try {
      return await getJson("documents", options);
    } catch (error) {
      if (error.status !== 429 || waits === MOST_WAITS) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(error.retryAfter || 1, LONGEST_WAIT)));
    }
  }
}

async function sendText(form, onAccepted, onDone) {
  const collection = collectionField();
  if (!collection) return;
  const button = form.querySelector("button");
  if (button.getAttribute("aria-disabled")) return;
  const [title, text] = [byId("paste-title"), byId("paste-text")];
  const json = { collection, text: text.value };
  if (title.value.trim()) json.title = title.value.trim();
  // Not disabled, which would lose the focus.
  button.setAttribute("aria-disabled", "true");
  calm();
  try {
    onAccepted(await taken({ method: "POST", json, signal: stopping.signal }));
    onDone();
    form.reset();
    say("The document was accepted.");
  } catch (error) {
    complain(error);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

function collectionField() {
  const field = byId("add-collection");
  return field.reportValidity() ? field.value : null;
}

function joined(problems) {
  if (problems.length === 1 || problems.some(({ status }) => status === 401)) return problems.at(-1);
  const first = problems.slice(0, MOST_TOLD).map(({ detail }) => detail).join(" ");
  const others = problems.length - MOST_TOLD;
  return new Problem(others > 0 ? `${first} And ${plural(others, "other file")} like these.` : first);
}
