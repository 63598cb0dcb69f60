// A job's row: its stage, a bar, the time that is left, a button that stops it, and what became of it.

import { element } from "./element.js";
import { left, plural } from "./format.js";
import { cancelJob, isFinished, retryJob } from "./jobs.js";
import { complain, say } from "./messages.js";

const STAGES = {
  waiting: "Waiting for a worker",
  starting: "Starting",
  "self-study": "Self-study",
  distillation: "Distillation",
  joining: "Learning beside the others",
  replay: "Neighbours learn along",
  check: "Held-out check",
  screening: "Looking at what it says of others",
  throughput: "Asking many at once",
  compaction: "Compacting",
  monolithic: "Training one cartridge for all",
  probing: "Finding out how many slots each needs",
  asking: "Asking every question by every arm",
  report: "Comparing",
};

/** What a job is at, in words. */
export function stageOf(job) {
  // Given back by a worker: of a full disk, say, or a store that did not answer.
  if (job.status === "queued" && job.error) return `Waits to try again: ${job.error}`;
  return STAGES[job.stage] ?? job.stage;
}

/** What became of a job that has ended, in a sentence. */
export function outcomeOf(job) {
  if (job.status === "cancelled") return "Cancelled.";
  if (job.status === "failed") return job.error || "It failed.";
  const result = job.result ?? {};
  if (job.kind === "report") return "Made.";
  if (job.kind === "train-collection") {
    return `${plural(result.published, "cartridge")} published, ${plural(result.unpublished, "document")} left as before.`;
  }
  if (!result.published) return `Not published. ${result.reason ?? ""}`.trim();
  const along = Object.values(result.relearned ?? {}).filter((each) => each.published).length;
  return `Ready with ${plural(result.slots, "slot")}.${along ? ` ${plural(along, "neighbour")} learned along.` : ""}`;
}

/** Whether a job ended with less than it was to make. */
export function fellShort(job) {
  return job.status === "failed" || (job.status === "succeeded" && job.result?.published === false);
}

/** The row of one job; `retreat` is focused when its button goes. `name` is what is trained, or the report. */
export class JobRow {
  constructor(name, job, retreat, tag = "li") {
    this.name = name;
    this.id = job.id;
    this.retreat = retreat;
    this.stage = element("span");
    this.rest = element("span");
    this.what = element("p", { class: "what" }, this.stage, this.rest);
    const task = job.kind === "report" ? "the comparison" : `the training of ${name}`;
    this.onAgain = null; // called with the job that is to be followed where it is done again
    this.tryAgain = element(
      "button",
      { type: "button", class: "quiet", hidden: true, "aria-label": `Try ${task} again`, onclick: () => this.again() },
      "Try again",
    );
    this.bar = element("progress", { max: "1", "aria-label": `Progress of ${task}` });
    this.button = element(
      "button",
      { type: "button", class: "quiet", "aria-label": `Cancel ${task}`, onclick: () => this.cancel() },
      "Cancel",
    );
    this.whole = element(tag, { class: "job" }, element("span", { class: "name" }, name), this.button, this.tryAgain, this.bar, this.what);
    this.show(job);
  }

  /** Show the job as it stands. */
  show(job) {
    const ended = isFinished(job);
    if (ended && !this.ended && this.ended !== undefined) say(`${this.name}: ${outcomeOf(job)}`);
    this.ended = ended;
    this.bar.value = job.progress;
    this.bar.hidden = ended;
    this.what.classList.toggle("bad", ended && fellShort(job));
    this.stage.textContent = ended ? outcomeOf(job) : stageOf(job);
    this.rest.textContent = ended ? "" : share(job);
    // What is held back is released, not trained again.
    const badly = ended && ((fellShort(job) && !job.result?.quarantined) || job.status === "cancelled");
    this.tryAgain.hidden = !(badly && this.onAgain);
    if (ended) this.dropButton();
    else this.button.hidden = false;
  }

  /** Show that the job cannot be followed. */
  lose(error) {
    this.ended = true;
    this.bar.hidden = true;
    this.stage.textContent = error.detail ?? "Its progress cannot be read.";
    this.rest.textContent = "";
    this.dropButton();
  }

  async cancel() {
    // Not disabled: that would throw the focus back to the top of the page.
    this.button.textContent = "Stopping…";
    try {
      await cancelJob(this.id);
    } catch (error) {
      this.button.textContent = "Cancel";
      complain(error);
    }
  }

  async again() {
    if (this.tryAgain.getAttribute("aria-disabled")) return;
    this.tryAgain.setAttribute("aria-disabled", "true");
    try {
      const job = await retryJob(this.id);
      this.retreat.focus();
      this.id = job.id;
      this.ended = undefined;
      this.button.textContent = "Cancel";
      this.show(job);
      this.onAgain(job);
    } catch (error) {
      complain(error);
    } finally {
      this.tryAgain.removeAttribute("aria-disabled");
    }
  }

  dropButton() {
    if (document.activeElement === this.button) this.retreat.focus();
    this.button.hidden = true;
  }
}

function share(job) {
  if (job.status === "queued") return "";
  const percent = `${Math.floor(job.progress * 100)} %`;
  return job.eta_s === null ? percent : `${percent}, ${left(job.eta_s)}`;
}
