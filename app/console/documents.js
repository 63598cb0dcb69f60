// The view of documents: the pages of a collection, with what is being trained and what was added.

import { startAdding, stopSending } from "./adding.js";
import { getJson, path, request } from "./api.js";
import { choose, chosen, loadCollections, offer } from "./catalogue.js";
import { confirmDeletion } from "./deletion.js";
import { documentsTable } from "./documents_table.js";
import { byId, element } from "./element.js";
import { Ingestion } from "./ingestion.js";
import { getJob, isFinished, newestJobs } from "./jobs.js";
import { calm, complain, say } from "./messages.js";

const PAGE = 20;

/** The view; it reads and follows nothing while another one is looked at. */
export class DocumentsView {
  constructor() {
    this.cursors = [null];
    this.rows = new Map();
    this.listed = null; // which documents these are of
    this.loading = null;
    this.ingestion = new Ingestion((job) => this.jobChanged(job));
    this.shown = false;
    this.came = null; // the collection of what was accepted since the list was read
    startAdding((accepted) => this.accepted(accepted), () => this.added());
    byId("list-collection").addEventListener("change", (event) => this.turnTo(event.target.value));
    byId("page-on").addEventListener("click", () => this.turnPage([...this.cursors, this.next]));
    byId("page-back").addEventListener("click", () => this.turnPage(this.cursors.slice(0, -1)));
  }

  /** Show the collection as it stands. */
  enter() {
    this.shown = true;
    byId("add-collection").value = chosen();
    this.ingestion.enter();
    return this.refresh();
  }

  leave() {
    this.shown = false;
    this.loading?.abort();
    this.ingestion.leave();
  }

  /** Show nothing any more: what was read with one key is not for who comes with another. */
  forget() {
    this.leave();
    this.cursors = [null];
    this.rows = new Map();
    this.listed = null;
    for (const id of ["documents-list", "collection-names", "list-collection"]) byId(id).replaceChildren();
    this.ingestion.forget();
    stopSending();
  }

  async refresh() {
    this.loading?.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    try {
      const collections = await loadCollections(signal);
      const before = chosen();
      offer(byId("list-collection"), collections);
      if (chosen() !== before) this.cursors = [null];
      byId("collection-names").replaceChildren(...collections.map(({ name }) => element("option", { value: name })));
      await this.load(signal);
    } catch (error) {
      complain(error);
    }
  }

  async load(signal) {
    const query = new URLSearchParams({ collection: chosen(), limit: PAGE });
    const cursor = this.cursors.at(-1);
    if (cursor) query.set("cursor", cursor);
    const { documents, next_cursor: next } = await getJson(`documents?${query}`, { signal });
    if (!documents.length && this.cursors.length > 1) {
      // The last document of the last page was deleted.
      this.cursors.pop();
      await this.load(signal);
      return;
    }
    this.next = next;
    this.show(documents);
    await this.loadJobs(documents, signal);
  }

  show(documents) {
    const listed = JSON.stringify([chosen(), documents.map(({ id }) => id)]);
    if (listed === this.listed && documents.every(({ id }) => this.rows.has(id))) {
      // In place: a button that is just being pressed must not be replaced under the finger.
      documents.forEach((one) => this.rows.get(one.id).show(one));
    } else {
      const { whole, rows } = documentsTable(`Documents of ${chosen()}`, documents, (one) => this.remove(one), (one) => this.release(one));
      this.rows = rows;
      this.listed = listed;
      byId("documents-list").replaceChildren(documents.length ? whole : emptyState());
    }
    byId("pages").hidden = this.cursors.length === 1 && !this.next;
    byId("page-number").textContent = `Page ${this.cursors.length}`;
    byId("page-back").disabled = this.cursors.length === 1;
    byId("page-on").disabled = !this.next;
  }

  /** What is being trained is followed, also after the page was loaded anew. */
  async loadJobs(documents, signal) {
    const pending = documents.filter(({ status, job }) => status !== "ready" && job);
    if (!pending.length) return;
    const newest = await newestJobs(chosen(), signal).catch(() => new Map());
    const jobs = await Promise.all(
      pending.map(({ job }) => newest.get(job) ?? getJob(job, signal).catch(() => null)),
    );
    jobs.forEach((job, index) => {
      if (!job || signal.aborted) return;
      this.rows.get(pending[index].id)?.showJob(job);
      if (!isFinished(job)) this.ingestion.add(job, pending[index].title);
    });
  }

  turnTo(collection) {
    choose(collection);
    byId("add-collection").value = collection;
    this.cursors = [null];
    return this.refresh();
  }

  async turnPage(cursors) {
    calm();
    this.cursors = cursors;
    await this.refresh();
    byId("list-heading").focus();
    byId("list-heading").scrollIntoView();
    say(`Page ${this.cursors.length}.`);
  }

  accepted({ document, job }) {
    this.ingestion.add(job, document.title);
    // With the first file: who looks at another list meanwhile is not called back by every next one.
    const first = this.came === null;
    this.came = document.collection;
    if (first && this.shown && document.collection !== chosen()) this.turnTo(document.collection);
  }

  /** Once for files that were sent together. */
  added() {
    const came = this.came;
    this.came = null;
    if (this.shown && came === chosen()) this.refresh();
  }

  async jobChanged(job) {
    const row = this.rows.get(job.document_id);
    if (!row || job.collection !== row.document.collection) return;
    if (isFinished(job)) {
      try {
        row.show(await getJson(documentPath(row.document)));
      } catch (error) {
        // Deleted meanwhile: its job ended because of that.
        if (error.status !== 404) complain(error);
        return;
      }
    }
    row.showJob(job);
  }

  async release(document) {
    calm();
    try {
      const { job } = await getJson(`${path("documents", document.id)}/release?${inCollection(document)}`, { method: "POST" });
      this.ingestion.add(job, document.title);
      await this.refresh();
      byId("list-heading").focus();
      say(`${document.title} is answered from again.`);
    } catch (error) {
      complain(error);
    }
  }

  async remove(document) {
    if (!(await confirmDeletion(document.title))) return;
    calm();
    // Its job ends with it, and then there is nothing left to be read about.
    this.rows.delete(document.id);
    try {
      await request(documentPath(document), { method: "DELETE" });
      await this.refresh();
      byId("list-heading").focus();
      say(`${document.title} was deleted.`);
    } catch (error) {
      await this.refresh();
      complain(error);
    }
  }
}

function documentPath(document) {
  return `${path("documents", document.id)}?${inCollection(document)}`;
}

function inCollection({ collection }) {
  return new URLSearchParams({ collection });
}

function emptyState() {
  return element(
    "div",
    { class: "empty" },
    element("h2", {}, "No documents yet"),
    element("p", {}, "Drop a file above or paste a text. It can be asked about at once; its cartridge follows."),
  );
}
