// The comparison: one question answered in every mode, a row each, with what each of them cost.

import { cell, element, table } from "./element.js";
import { notice, viaBadge } from "./answer.js";
import { bytes, count, milliseconds, NONE, tenth } from "./format.js";

const FIGURES = ["Prompt tokens", "Slots", "KV bytes", "First token", "Total"];

/** The table of all modes; rows are filled one after the other. */
export class Comparison {
  constructor(question, modes) {
    const columns = [{ name: "Read as" }, { name: "Answer" }, ...FIGURES.map((name) => ({ name, numeric: true }))];
    const { whole, body } = table(question, columns);
    this.rows = new Map(modes.map(({ mode, name }) => [mode, new Row(name)]));
    this.notices = element("div", { class: "notices" });
    this.summary = element("p", { hidden: true });
    this.answers = new Map();
    body.append(...[...this.rows.values()].map((row) => row.whole));
    this.whole = [element("h2", {}, "Comparison"), whole, this.summary, this.notices];
  }

  /** The row of a mode. */
  row(mode) {
    return this.rows.get(mode);
  }

  /** Show a whole answer in its row. */
  finish(mode, answer) {
    this.answers.set(mode, answer);
    this.row(mode).finish(answer);
    this.notices.append(...answer.notices.map(notice));
    this.summarise();
  }

  summarise() {
    const ours = this.answers.get("auto");
    const cartridge = ours?.usage;
    const whole = this.answers.get("icl")?.usage;
    // Said only where cartridges alone answered, and did take less.
    if (!ours?.sources.length || ours.sources.some(({ via }) => via !== "cartridge")) return;
    if (!cartridge.cartridge_slots || !(whole?.kv_bytes > cartridge.kv_bytes)) return;
    const ratio = tenth(whole.kv_bytes / cartridge.kv_bytes);
    this.summary.textContent = `With the cartridge this question took ${ratio} times fewer bytes of keys and values than with the whole text.`;
    this.summary.hidden = false;
  }
}

class Row {
  constructor(name) {
    this.via = element("span", { class: "small" });
    this.text = element("span", { class: "hint" }, "Waiting");
    this.figures = FIGURES.map((label) => cell(label, { numeric: true }, NONE));
    this.whole = element(
      "tr",
      { role: "row" },
      element("th", { scope: "row", role: "rowheader" }, name, this.via),
      cell("Answer", { kind: "said" }, this.text),
      ...this.figures,
    );
  }

  /** Show how its documents are read. */
  showSources({ sources }) {
    this.via.replaceChildren(...[...new Set(sources.map(({ via }) => via))].map(viaBadge));
  }

  /** Show that its turn has come. */
  begin() {
    this.text.textContent = "Searching";
  }

  /** Add a piece of the text. */
  add(text) {
    if (this.text.className) {
      this.text.className = "";
      this.text.textContent = "";
    }
    this.text.append(text);
  }

  /** Show the whole answer with its figures. */
  finish({ answer, sources, usage, timings_ms: timings }) {
    this.showSources({ sources });
    this.text.className = "";
    this.text.textContent = answer;
    const values = [
      count(usage.prompt_tokens),
      count(usage.cartridge_slots),
      bytes(usage.kv_bytes),
      milliseconds(timings.first_token),
      milliseconds(timings.total),
    ];
    values.forEach((value, index) => {
      this.figures[index].textContent = value;
    });
  }

  /** Show why there is no answer. */
  end(sentence) {
    this.text.className = "hint";
    this.text.textContent = sentence;
  }
}
