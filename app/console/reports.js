// The view of reports: ways of answering compared over a collection and questions of one's own.

import { getJson, path, Problem } from "./api.js";
import { choose, loadCollections, offer } from "./catalogue.js";
import { byId, element } from "./element.js";
import { plural } from "./format.js";
import { complain, calm, say } from "./messages.js";
import { parseQuestions } from "./questions.js";
import { ReportCard } from "./report_card.js";

/** The view; what is under way is followed while it is shown. */
export class ReportsView {
  constructor() {
    this.following = null;
    byId("report-form").addEventListener("submit", (event) => this.order(event));
    byId("report-collection").addEventListener("change", (event) => {
      choose(event.target.value);
      this.list();
    });
    byId("report-file").addEventListener("change", (event) => this.read(event.target));
  }

  /** Show the collections and the reports over the chosen one. */
  async enter() {
    this.leave();
    this.following = new AbortController();
    try {
      const collections = await loadCollections(this.following.signal);
      offer(byId("report-collection"), collections);
      byId("report-form").hidden = !collections.length;
      byId("report-empty").hidden = collections.length > 0;
      if (collections.length) await this.list();
    } catch (error) {
      complain(error);
    }
  }

  leave() {
    this.following?.abort();
    this.following = null;
  }

  async list() {
    // One list at a time is followed; an older answer must not replace a newer one.
    this.following?.abort();
    this.following = new AbortController();
    const { signal } = this.following;
    try {
      const cards = await this.page(null, signal);
      byId("reports-list").replaceChildren(...(cards.length ? cards : [none()]));
    } catch (error) {
      complain(error);
    }
  }

  /** The cards of a page, and the button that puts the next one in its own place. */
  async page(cursor, signal) {
    const query = new URLSearchParams({ collection: byId("report-collection").value });
    if (cursor) query.set("cursor", cursor);
    const { reports, next_cursor: next } = await getJson(`reports?${query}`, { signal });
    const cards = reports.map((report) => new ReportCard(report, signal, () => this.list()));
    for (const card of cards) card.resume();
    const shown = cards.map((card) => card.whole);
    if (!next) return shown;
    const more = element("button", { type: "button" }, "Show older reports");
    more.addEventListener("click", async () => {
      if (more.getAttribute("aria-disabled")) return;
      more.setAttribute("aria-disabled", "true");
      try {
        const older = await this.page(next, signal);
        more.replaceWith(...older);
        older[0]?.querySelector("h2")?.focus();
      } catch (error) {
        complain(error);
      } finally {
        more.removeAttribute("aria-disabled");
      }
    });
    return [...shown, more];
  }

  /** Show nothing any more. */
  forget() {
    this.leave();
    for (const id of ["reports-list", "report-collection"]) byId(id).replaceChildren();
  }

  async read(input) {
    const [file] = input.files;
    if (file) byId("report-questions").value = await file.text();
    input.value = "";
  }

  async order(event) {
    event.preventDefault();
    const button = event.submitter ?? byId("report-form").querySelector('button[type="submit"]');
    if (button.getAttribute("aria-disabled")) return;
    calm();
    button.setAttribute("aria-disabled", "true");
    try {
      const questions = parseQuestions(byId("report-questions").value);
      const arms = [...document.querySelectorAll("#report-arms input:checked")].map((input) => input.value);
      if (!arms.length) throw new Problem("Choose at least one way of answering.");
      const title = byId("report-title").value.trim();
      const json = { collection: byId("report-collection").value, questions, arms, ...(title ? { title } : {}) };
      await getJson(path("reports"), { method: "POST", json, once: named(json) });
      ordering = null;
      say(`A report over ${plural(questions.length, "question")} was ordered.`);
      await this.list();
    } catch (error) {
      complain(error);
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }
}

let ordering = null;

/** The name of an order: the same until it was answered, so that pressing twice orders one report. */
function named(json) {
  const text = JSON.stringify(json);
  if (ordering?.text !== text) {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    ordering = { text, name: Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("") };
  }
  return ordering.name;
}

function none() {
  return element("p", { class: "hint" }, "No report over this collection yet.");
}
