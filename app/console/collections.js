// The view of collections: how many documents each holds, and training all of one together.

import { getJson, path } from "./api.js";
import { choose, loadCollections } from "./catalogue.js";
import { byId, element } from "./element.js";
import { plural } from "./format.js";
import { follow, isFinished } from "./jobs.js";
import { JobRow } from "./job_row.js";
import { calm, complain, say } from "./messages.js";

const STORED = "cartridges-collection-jobs";

/** The view; trainings that were started in this tab are followed again when it is entered. */
export class CollectionsView {
  constructor() {
    this.following = null;
  }

  /** Show the collections as they stand. */
  async enter() {
    this.leave();
    this.following = new AbortController();
    const { signal } = this.following;
    try {
      const collections = await loadCollections(signal);
      const cards = collections.map((collection) => new CollectionCard(collection, signal));
      const list = element("ul", { class: "collections" }, ...cards.map((card) => card.whole));
      byId("collections-list").replaceChildren(collections.length ? list : emptyState());
      for (const card of cards) card.resume();
    } catch (error) {
      complain(error);
    }
  }

  leave() {
    this.following?.abort();
    this.following = null;
  }

  /** Show nothing any more. */
  forget() {
    this.leave();
    byId("collections-list").replaceChildren();
  }
}

class CollectionCard {
  constructor({ name, documents }, signal) {
    this.name = name;
    this.documents = documents;
    this.signal = signal;
    this.heading = element("h2", { tabindex: "-1" }, name);
    this.job = element("div");
    this.button = element(
      "button",
      { type: "button", "aria-label": `Train all of ${name} together`, onclick: () => this.train() },
      "Train all together",
    );
    const link = element("a", { href: "#documents", onclick: () => choose(name) }, plural(documents, "document"));
    this.whole = element(
      "li",
      { class: "card collection" },
      element("div", { class: "top" }, element("div", {}, this.heading, link), this.button),
      this.job,
    );
  }

  async train() {
    if (this.button.getAttribute("aria-disabled")) return;
    calm();
    this.busy(true);
    try {
      const { job } = await getJson(path("collections", this.name, "train"), { method: "POST", signal: this.signal });
      remember(this.name, job.id);
      say(`The training of ${this.name} was started.`);
      await this.watch(job);
    } catch (error) {
      complain(error);
    } finally {
      this.busy(false);
    }
  }

  /** Go on with the training that was started before, when the service still knows it. */
  async resume() {
    const id = remembered()[this.name];
    if (!id) return;
    try {
      await this.watch(await getJson(path("jobs", id), { signal: this.signal }));
    } catch (error) {
      if (error.status === 404) remember(this.name, undefined);
      else complain(error);
    }
  }

  async watch(job) {
    const row = new JobRow(this.documents > 1 ? "All documents" : "Its only document", job, this.heading, "div");
    this.job.replaceChildren(row.whole);
    let last = job;
    const show = (changed) => {
      last = changed;
      row.show(changed);
    };
    this.busy(true);
    try {
      if (!isFinished(job)) await follow(job.id, show, this.signal);
    } finally {
      this.busy(false);
    }
    if (last.result?.documents) row.whole.after(outcomes(last.result.documents));
  }

  busy(busy) {
    if (busy) this.button.setAttribute("aria-disabled", "true");
    else this.button.removeAttribute("aria-disabled");
    this.button.textContent = busy ? "Training…" : "Train all together";
  }
}

function outcomes(documents) {
  const entries = Object.entries(documents);
  const items = entries.map(([id, { published, slots, reason }]) =>
    element(
      "li",
      {},
      element("span", { class: published ? "badge good" : "badge bad" }, published ? "Published" : "Not published"),
      element("span", {}, id),
      element("span", { class: "hint" }, published ? plural(slots, "slot") : (reason ?? "")),
    ),
  );
  const summary = element("summary", {}, `What became of ${plural(entries.length, "document")}`);
  return element("details", { open: entries.length <= 5 }, summary, element("ul", { class: "outcomes" }, ...items));
}

function emptyState() {
  return element(
    "div",
    { class: "empty" },
    element("h2", {}, "No collections yet"),
    element("p", {}, "A collection is made with its first document."),
    element("p", {}, element("a", { class: "button", href: "#documents" }, "Add a document")),
  );
}

function remembered() {
  return JSON.parse(sessionStorage.getItem(STORED) ?? "{}");
}

function remember(name, id) {
  sessionStorage.setItem(STORED, JSON.stringify({ ...remembered(), [name]: id }));
}
