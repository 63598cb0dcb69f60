// A report's card: how far it is, and once it is made its first paragraph, its arms and the files to keep.

import { getJson, path, request } from "./api.js";
import { confirmDeletion } from "./deletion.js";
import { byId, cell, element, table } from "./element.js";
import { count, milliseconds, NONE, plural } from "./format.js";
import { follow, getJob, isFinished } from "./jobs.js";
import { JobRow } from "./job_row.js";
import { calm, complain, say } from "./messages.js";

const FILES = [
  ["HTML", "text/html", "html"],
  ["Markdown", "text/markdown", "md"],
  ["JSON", "application/json", "json"],
];

/** The card of one report. */
export class ReportCard {
  constructor(report, signal, onGone) {
    this.report = report;
    this.onGone = onGone;
    this.signal = signal;
    this.heading = element("h2", { tabindex: "-1" }, report.title);
    this.body = element("div");
    const when = new Date(report.created_at).toLocaleString();
    this.whole = element(
      "article",
      { class: "card report" },
      this.heading,
      element(
        "p",
        { class: "hint" },
        `${plural(report.questions, "question")}, ${when} `,
        element(
          "button",
          { type: "button", class: "quiet", "aria-label": `Delete the report ${report.title}`, onclick: () => this.remove() },
          "Delete",
        ),
      ),
      this.body,
    );
  }

  /** Show the report, or follow its job until it is made. */
  async resume() {
    try {
      if (!this.report.finished) await this.watch();
      if (this.report.finished) await this.show();
    } catch (error) {
      if (error.status === 404) this.body.replaceChildren(lost());
      else complain(error);
    }
  }

  async watch() {
    let last = await getJob(this.report.id, this.signal);
    const row = new JobRow("Report", last, this.heading, "div");
    row.onAgain = () => this.resume();
    row.show(last);
    this.body.replaceChildren(row.whole);
    const show = (changed) => {
      last = changed;
      row.show(changed);
    };
    if (!isFinished(last)) await follow(this.report.id, show, this.signal);
    this.report.finished = last.status === "succeeded";
  }

  async remove() {
    if (!(await confirmDeletion(this.report.title, "its answers and its scores"))) return;
    calm();
    try {
      await request(path("reports", this.report.id), { method: "DELETE" });
      await this.onGone();
      byId("reports-heading").focus();
      say(`${this.report.title} was deleted.`);
    } catch (error) {
      complain(error);
    }
  }

  async show() {
    const found = await getJson(path("reports", this.report.id), { signal: this.signal });
    this.body.replaceChildren(
      element("p", { class: "answer" }, found.lead),
      armsTable(found.arms),
      element("div", { class: "actions" }, ...FILES.map((file) => this.saver(...file))),
    );
  }

  saver(name, type, ending) {
    const label = `Save ${this.report.title} as ${name}`;
    return element(
      "button",
      { type: "button", "aria-label": label, onclick: () => this.save(type, ending) },
      `Save as ${name}`,
    );
  }

  async save(type, ending) {
    try {
      const options = { accept: type, signal: this.signal };
      const response = await request(path("reports", this.report.id), options);
      const address = URL.createObjectURL(await response.blob());
      const link = element("a", { href: address, download: `report-${this.report.id.slice(0, 9)}.${ending}` });
      link.click();
      URL.revokeObjectURL(address);
    } catch (error) {
      complain(error);
    }
  }
}

const COLUMNS = [
  { name: "Arm" },
  { name: "Score", numeric: true },
  { name: "95 % interval", numeric: true },
  { name: "Prompt tokens", numeric: true },
  { name: "Slots", numeric: true },
  { name: "Total", numeric: true },
];

function armsTable(arms) {
  const { whole, body } = table("Arms of this report", COLUMNS, { visible: false });
  body.append(...arms.map(row));
  return whole;
}

function row(arm) {
  const [first, ...others] = COLUMNS;
  const figures = figuresOf(arm);
  return element(
    "tr",
    { role: "row" },
    cell(first.name, {}, arm.name),
    ...others.map(({ name, numeric }, index) => cell(name, { numeric }, figures[index])),
  );
}

function figuresOf({ score, costs }) {
  const interval = score?.low == null ? NONE : `${percent(score.low)} to ${percent(score.high)}`;
  return [
    score ? percent(score.mean) : NONE,
    interval,
    costs ? count(costs.prompt_tokens.p50) : NONE,
    costs ? count(costs.cartridge_slots.p50) : NONE,
    costs ? milliseconds(costs.total_ms.p50) : NONE,
  ];
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function lost() {
  return element("p", { class: "notice" }, "Its job is not known any more; order the report again.");
}
