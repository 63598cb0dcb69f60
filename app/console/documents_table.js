// The table of documents: a row each, changed in place, so that the focus stays where it is.

import { cell, element, table } from "./element.js";
import { count, NONE, plural, times } from "./format.js";
import { isFinished } from "./jobs.js";
import { fellShort, outcomeOf } from "./job_row.js";

const STATUS = {
  ready: ["Ready", "badge good", "Answered from its cartridge"],
  text: ["Text", "badge", "Answered from its text"],
  draft: ["Draft", "badge", "Not checked yet"],
  quarantined: ["Quarantined", "badge bad", "Answers only where it is named: it changes answers of other documents"],
  failed: ["Failed", "badge bad", "Answered from its text"],
};

const COLUMNS = [
  { name: "Document" },
  { name: "Status" },
  { name: "Version", numeric: true },
  { name: "Tokens", numeric: true },
  { name: "Slots", numeric: true },
  { name: "Compression", numeric: true },
  { name: "Actions", unseen: true },
];

/** The rows of these documents in a table; `onDelete` and `onRelease` are called with a document. */
export function documentsTable(caption, documents, onDelete, onRelease) {
  const { whole, body } = table(caption, COLUMNS, { visible: false });
  const rows = new Map(documents.map((document) => [document.id, new DocumentRow(document, onDelete, onRelease)]));
  body.append(...[...rows.values()].map((row) => row.whole));
  return { whole, rows };
}

class DocumentRow {
  constructor(document, onDelete, onRelease) {
    this.title = element("span");
    this.badge = element("span", { class: "badge" });
    this.reason = element("span", { class: "small" });
    this.version = cell("Version", { numeric: true });
    this.tokens = cell("Tokens", { numeric: true });
    this.slots = cell("Slots", { numeric: true });
    this.compression = cell("Compression", { numeric: true });
    this.button = element(
      "button",
      { type: "button", class: "quiet warning", onclick: () => onDelete(this.document) },
      "Delete",
    );
    this.release = element(
      "button",
      { type: "button", class: "quiet", onclick: () => onRelease(this.document) },
      "Release",
    );
    this.whole = element(
      "tr",
      { role: "row" },
      element("th", { scope: "row", role: "rowheader" }, this.title, element("span", { class: "small" }, document.id)),
      cell("Status", {}, element("span", {}, this.badge, this.reason)),
      this.version,
      this.tokens,
      this.slots,
      this.compression,
      element("td", { role: "cell", class: "act" }, this.button),
    );
    this.show(document);
  }

  /** Show the document as it stands. */
  show(document) {
    this.document = document;
    const [word, kind, meaning] = STATUS[document.status] ?? [document.status, "badge", ""];
    this.title.textContent = document.title;
    this.badge.textContent = word;
    this.badge.className = kind;
    this.badge.title = meaning;
    this.reason.textContent = "";
    this.version.textContent = count(document.version);
    this.tokens.textContent = count(document.tokens);
    this.slots.textContent = count(document.cartridge?.slots);
    this.compression.textContent = document.cartridge ? times(document.cartridge.compression) : NONE;
    this.button.setAttribute("aria-label", `Delete ${document.title}`);
    this.release.setAttribute("aria-label", `Release ${document.title}`);
    if (document.status === "quarantined") this.button.before(this.release);
    else this.release.remove();
    if (document.conflicts.length) this.reason.textContent = conflictsOf(document);
  }

  /** Show how far its training is, or why it has no cartridge. */
  showJob(job) {
    if (isFinished(job)) {
      if (fellShort(job) && !this.document.conflicts.length) this.reason.textContent = outcomeOf(job);
      return;
    }
    if (this.document.status === "quarantined") return;
    this.badge.className = "badge good";
    this.badge.textContent = job.status === "queued" ? "Waiting" : `Training ${Math.floor(job.progress * 100)} %`;
    const meanwhile = this.document.status === "draft" ? "draft" : "text";
    this.badge.title = `Answered from its ${meanwhile} until the cartridge is ready`;
  }
}

/** What a document says against others, with the first example. */
function conflictsOf({ conflicts }) {
  const [first] = conflicts;
  const example = `${first.document_id}: “${first.answer}” becomes “${first.instead}”`;
  return `Changes ${plural(conflicts.length, "answer")} of others. ${example}`;
}
