// The ingestion: the jobs of documents that were added, followed while the view is looked at.

import { byId } from "./element.js";
import { isFinished, follow } from "./jobs.js";
import { JobRow } from "./job_row.js";

/** The list of jobs; `onChange` is called with each job at every change. */
export class Ingestion {
  constructor(onChange) {
    this.onChange = onChange;
    this.rows = new Map();
    this.following = null;
    byId("ingestion-clear").addEventListener("click", () => this.clear());
  }

  /** Show a job under this name, the newest on top, and follow it. */
  add(job, name) {
    if (this.rows.has(job.id)) return;
    const row = new JobRow(name, job, byId("ingestion-heading"));
    row.onAgain = (again) => this.again(row, again);
    row.show(job);
    this.rows.set(job.id, row);
    byId("ingestion-list").prepend(row.whole);
    byId("ingestion").hidden = false;
    // While another view is looked at nothing is followed; `enter` does when this one is again.
    if (!isFinished(job) && this.following) this.watch(row);
    this.showClear();
  }

  /** A job that ended badly is done again, perhaps as another one. */
  again(row, job) {
    for (const [id, other] of this.rows) if (other === row) this.rows.delete(id);
    // A newer version's, say, is followed already in a row of its own.
    if (this.rows.has(job.id)) {
      row.whole.remove();
      return;
    }
    this.rows.set(job.id, row);
    this.onChange(job);
    if (this.following) this.watch(row);
    this.showClear();
  }

  /** Follow what has not ended. */
  enter() {
    this.following ??= new AbortController();
    for (const row of this.rows.values()) if (!row.ended) this.watch(row);
  }

  /** Follow nothing any more. */
  leave() {
    this.following?.abort();
    this.following = null;
  }

  /** Let go of all of them. */
  forget() {
    this.leave();
    this.rows.clear();
    byId("ingestion-list").replaceChildren();
    byId("ingestion").hidden = true;
  }

  async watch(row) {
    const { signal } = this.following;
    const show = (job) => {
      row.show(job);
      this.onChange(job);
    };
    try {
      await follow(row.id, show, signal);
    } catch (error) {
      // A key that is asked for starts the view again, and with it this.
      if (error.name !== "AbortError" && error.status !== 401) row.lose(error);
    }
    this.showClear();
  }

  showClear() {
    byId("ingestion-clear").hidden = ![...this.rows.values()].some((row) => row.ended);
  }

  clear() {
    for (const [id, row] of this.rows) {
      if (!row.ended) continue;
      row.whole.remove();
      this.rows.delete(id);
    }
    byId("ingestion").hidden = this.rows.size === 0;
    byId(this.rows.size ? "ingestion-heading" : "list-heading").focus();
    this.showClear();
  }
}
