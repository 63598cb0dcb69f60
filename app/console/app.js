// The console's start: which view is shown follows from the address behind its #.

import { AskView } from "./ask.js";
import { CollectionsView } from "./collections.js";
import { startDeletion } from "./deletion.js";
import { DocumentsView } from "./documents.js";
import { byId } from "./element.js";
import { onKeyChanged, startKey } from "./key.js";
import { calm, startMessages } from "./messages.js";
import { ReportsView } from "./reports.js";

startMessages();
startKey();
startDeletion();

const views = {
  ask: new AskView(),
  documents: new DocumentsView(),
  collections: new CollectionsView(),
  reports: new ReportsView(),
};
let current = null;

function show() {
  const asked = location.hash.slice(1);
  // The link that skips to the content is no view.
  if (asked === "main" && current) return;
  const name = Object.hasOwn(views, asked) ? asked : "ask";
  const first = current === null;
  if (!first) views[current].leave();
  current = name;
  calm();
  for (const other of Object.keys(views)) byId(`view-${other}`).hidden = other !== name;
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const heading = byId(`${name}-heading`);
  document.title = `${heading.textContent} – Cartridge QA`;
  // A view that was chosen is read from its heading; a page that was loaded, from its top.
  if (!first) {
    window.scrollTo(0, 0);
    heading.focus();
  }
  views[name].enter();
}

window.addEventListener("hashchange", show);
onKeyChanged(() => {
  calm();
  // What was read with one key is not for who comes with another.
  for (const view of Object.values(views)) view.forget();
  views[current].enter();
});
show();
