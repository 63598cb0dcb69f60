// The API key: asked for in a dialog, kept in this tab's session storage and nowhere else.
// Knows no request; those who send one ask for the key and say when it was refused.

import { byId } from "./element.js";

const STORED = "cartridges-api-key";
const listeners = new Set();

/** The key, or null. */
export function currentKey() {
  return sessionStorage.getItem(STORED);
}

/** Call `listener` whenever the key was changed. */
export function onKeyChanged(listener) {
  listeners.add(listener);
}

/** Open the dialog because the service refused what it was sent. */
export function askForKey() {
  open(
    currentKey()
      ? "The service did not accept this key. Check it and try again."
      : "This service answers only with an API key. Enter yours to go on.",
  );
}

/** Make the dialog and its button work. */
export function startKey() {
  const dialog = byId("key-dialog");
  byId("key-open").addEventListener("click", () =>
    open(currentKey() ? "A key is in use." : "Only a service that was given keys asks for one."),
  );
  byId("key-close").addEventListener("click", () => dialog.close());
  byId("key-forget").addEventListener("click", () => keep(null));
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const key = byId("key").value.trim();
    // A header holds no others, and a browser would say that the service does not answer.
    if (/[^\x21-\x7e]/.test(key)) open("That is no key: it has characters that no key has.");
    else keep(key || null);
  });
}

function open(sentence) {
  byId("key-sentence").textContent = sentence;
  byId("key-forget").hidden = !currentKey();
  if (byId("key-dialog").open) return;
  byId("key").value = "";
  byId("key-dialog").showModal();
  byId("key").focus();
}

function keep(key) {
  if (key === null) sessionStorage.removeItem(STORED);
  else sessionStorage.setItem(STORED, key);
  byId("key").value = "";
  byId("key-dialog").close();
  for (const listener of listeners) listener();
}
