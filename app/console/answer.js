// An answer's card: the text as it arrives, notices, figures, and the sources with their passages.

import { element } from "./element.js";
import { bytes, count, milliseconds } from "./format.js";

/** The card of one question; its parts are filled as they arrive. */
export class AnswerCard {
  constructor(question, modeName) {
    this.text = element("p", { class: "answer", "aria-live": "polite", "aria-busy": "true" });
    this.state = element("span", { class: "badge" }, "Searching");
    this.notices = element("div", { class: "notices" });
    this.figures = element("dl", { class: "figures", hidden: true });
    this.sources = element("div", { class: "sources" });
    this.sourcesHeading = element("h2", { hidden: true }, "Sources");
    this.whole = [
      element(
        "article",
        { class: "card", "aria-label": "Answer" },
        element(
          "div",
          { class: "heading" },
          element("p", { class: "asked" }, question),
          element("span", { class: "inline" }, element("span", { class: "badge" }, modeName), this.state),
        ),
        this.text,
        this.notices,
        this.figures,
      ),
      this.sourcesHeading,
      this.sources,
    ];
  }

  /** Show where the answer comes from, before it is there. */
  showSources({ sources, notices }) {
    this.state.textContent = "Answering";
    this.sourcesHeading.hidden = false;
    this.notices.replaceChildren(...notices.map(notice));
    if (sources.length) this.sources.replaceChildren(...sources.map(sourceCard));
    else this.sources.replaceChildren(element("p", { class: "hint" }, "No document fits this question."));
  }

  /** Add a piece of the text. */
  add(text) {
    this.text.append(text);
  }

  /** Show the whole answer with its figures, and the sources that it is from: after a second look, others. */
  finish(answer) {
    this.showSources(answer);
    this.text.textContent = answer.answer;
    this.end(answer.abstained ? "Not in the documents" : "Answered", answer.abstained ? "badge" : "badge good");
    const cut = answer.finish_reason === "length" ? ["The answer ends here because it may not be longer."] : [];
    this.notices.replaceChildren(...[...answer.notices, ...cut].map(notice));
    this.figures.hidden = false;
    this.figures.replaceChildren(...figuresOf(answer).map(([name, value]) => figure(name, value)));
  }

  /** Show that it ended before its end, and why in a word. */
  end(word, kind = "badge bad") {
    this.text.setAttribute("aria-busy", "false");
    this.state.textContent = word;
    this.state.className = kind;
  }
}

/** A notice: what did not go as asked. */
export function notice(sentence) {
  return element("p", { class: "notice" }, sentence);
}

/** How a document was read, as a badge. */
export function viaBadge(via) {
  return element("span", { class: via === "cartridge" ? "badge good" : "badge" }, via);
}

function figuresOf({ usage, timings_ms: timings }) {
  return [
    ["Prompt tokens", count(usage.prompt_tokens)],
    ["Cartridge slots", count(usage.cartridge_slots)],
    ["KV bytes", bytes(usage.kv_bytes)],
    ["First token", milliseconds(timings.first_token)],
    ["Total", milliseconds(timings.total)],
  ];
}

function figure(name, value) {
  return element("div", {}, element("dt", {}, name), element("dd", {}, value));
}

/** Where in its file a passage stands. */
function placeOf(page, section) {
  return [page === null ? "" : `Page ${page}`, section ?? ""].filter((place) => place);
}

function sourceCard(source) {
  const passages = source.passages.map(({ text, score, page, section }) =>
    element(
      "figure",
      { class: "passage" },
      element("blockquote", { tabindex: text.length > 600 ? "0" : null }, text),
      element("figcaption", {}, [...placeOf(page, section), `Score ${score.toFixed(2)}`].join(" · ")),
    ),
  );
  return element(
    "article",
    { class: "card source" },
    element(
      "header",
      {},
      element("h3", {}, source.title),
      viaBadge(source.via),
      element("span", { class: "small" }, source.document_id),
      element("span", { class: "score" }, `Score ${source.score.toFixed(2)}`),
    ),
    element(
      "p",
      { class: "hint" },
      source.via === "cartridge"
        ? "The cartridge was read; by these passages the document was found."
        : "Read as text; found by these passages.",
    ),
    element("div", { class: "passages" }, ...passages),
  );
}
