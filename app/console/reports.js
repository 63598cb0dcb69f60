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
      const collection = byId("report-collection").value;
      const { reports } = await getJson(`reports?collection=${encodeURIComponent(collection)}`, { signal });
      const cards = reports.map((report) => new ReportCard(report, signal));
      byId("reports-list").replaceChildren(...(cards.length ? cards.map((card) => card.whole) : [none()]));
      for (const card of cards) card.resume();
    } catch (error) {
      complain(error);
    }
  }

  async read(input) {
    const [file] = input.files;
    if (file) byId("report-questions").value = await file.text();
    input.value = "";
  }

  async order(event) {
    event.preventDefault();
    calm();
    try {
      const questions = parseQuestions(byId("report-questions").value);
      const arms = [...document.querySelectorAll("#report-arms input:checked")].map((input) => input.value);
      if (!arms.length) throw new Problem("Choose at least one way of answering.");
      const title = byId("report-title").value.trim();
      const json = { collection: byId("report-collection").value, questions, arms, ...(title ? { title } : {}) };
      await getJson(path("reports"), { method: "POST", json });
      say(`A report over ${plural(questions.length, "question")} was ordered.`);
      await this.list();
    } catch (error) {
      complain(error);
    }
  }
}

function none() {
  return element("p", { class: "hint" }, "No report over this collection yet.");
}
