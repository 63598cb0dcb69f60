// The question before a document or a report is deleted.

import { byId } from "./element.js";

/** Whether the person says yes; `what` goes with it. */
export function confirmDeletion(title, what = "its passages, its cartridge and its training") {
  const dialog = byId("delete-dialog");
  byId("delete-sentence").textContent =
    `“${title}” goes with ${what}. This cannot be undone.`;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Make the dialog's buttons work. */
export function startDeletion() {
  byId("delete-yes").addEventListener("click", () => byId("delete-dialog").close("yes"));
  byId("delete-no").addEventListener("click", () => byId("delete-dialog").close("no"));
}
