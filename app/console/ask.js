// The view in which questions are asked: the form, the mode, stopping, and one answer or a comparison.

import { AnswerCard } from "./answer.js";
import { ask, MODES } from "./asking.js";
import { choose, loadCollections, offer } from "./catalogue.js";
import { Comparison } from "./comparison.js";
import { byId } from "./element.js";
import { calm, complain, say } from "./messages.js";

/** The view; an answer goes on while another view is looked at. */
export class AskView {
  constructor() {
    this.running = null;
    this.form = byId("ask-form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run((signal) => this.answer(signal));
    });
    byId("question").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.running) this.form.requestSubmit();
    });
    byId("compare-button").addEventListener("click", () => {
      if (this.form.reportValidity()) this.run((signal) => this.compare(signal));
    });
    byId("stop-button").addEventListener("click", () => this.running?.abort());
    byId("ask-collection").addEventListener("change", (event) => choose(event.target.value));
    byId("modes").addEventListener("change", () => this.explain());
    this.explain();
  }

  /** Show what can be asked now. */
  async enter() {
    try {
      const collections = await loadCollections();
      offer(byId("ask-collection"), collections);
      this.form.hidden = collections.length === 0;
      byId("ask-empty").hidden = collections.length > 0;
    } catch (error) {
      complain(error);
    }
  }

  leave() {}

  /** Show no answer any more. */
  forget() {
    this.running?.abort();
    for (const id of ["result", "ask-collection"]) byId(id).replaceChildren();
  }

  explain() {
    byId("mode-hint").textContent = this.mode().hint;
  }

  mode() {
    const chosen = this.form.elements.mode.value;
    return MODES.find(({ mode }) => mode === chosen);
  }

  async run(work) {
    const question = byId("question");
    if (this.running) return;
    if (!question.value.trim()) {
      question.value = "";
      this.form.reportValidity();
      return;
    }
    calm();
    this.running = new AbortController();
    this.showRunning(true);
    try {
      await work(this.running.signal);
    } catch (error) {
      complain(error);
    } finally {
      this.running = null;
      this.showRunning(false);
    }
  }

  async answer(signal) {
    const question = byId("question").value.trim();
    const { mode, name } = this.mode();
    const card = new AnswerCard(question, name);
    byId("result").replaceChildren(...card.whole);
    say("Searching the documents.");
    const handlers = { onSources: (opening) => card.showSources(opening), onToken: (text) => card.add(text) };
    try {
      card.finish(await ask(question, byId("ask-collection").value, mode, handlers, signal));
      say("");
    } catch (error) {
      const stopped = error.name === "AbortError";
      card.end(stopped ? "Stopped" : "Broken off", stopped ? "badge" : "badge bad");
      if (stopped) say("Stopped.");
      throw error;
    }
  }

  async compare(signal) {
    const question = byId("question").value.trim();
    const collection = byId("ask-collection").value;
    const comparison = new Comparison(question, MODES);
    byId("result").replaceChildren(...comparison.whole);
    for (const [index, { mode, name }] of MODES.entries()) {
      const row = comparison.row(mode);
      say(`Asking: ${name}.`);
      row.begin();
      const handlers = { onSources: (opening) => row.showSources(opening), onToken: (text) => row.add(text) };
      try {
        comparison.finish(mode, await ask(question, collection, mode, handlers, signal));
      } catch (error) {
        if (error.name !== "AbortError" && error.status !== 401) {
          row.end(error.detail ?? "No answer.");
          complain(error);
          continue;
        }
        for (const rest of MODES.slice(index)) comparison.row(rest.mode).end("Stopped");
        say("Stopped.");
        throw error;
      }
    }
    say("The comparison is complete.");
  }

  showRunning(running) {
    const [button, stop] = [byId("ask-button"), byId("stop-button")];
    const focused = document.activeElement;
    const compare = byId("compare-button");
    button.hidden = running;
    stop.hidden = !running;
    compare.disabled = running;
    // The focus must not fall off a button that goes away.
    if (running && (focused === button || focused === compare)) stop.focus();
    if (!running && focused === stop) button.focus();
  }
}
