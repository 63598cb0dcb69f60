// Asking: one question sent in one mode, its answer as it arrives. Knows the stream, shows nothing.

import { Problem, stream } from "./api.js";

/** The modes that are compared, in their order, with their names and what they are. */
export const MODES = [
  { mode: "auto", name: "Cartridge", hint: "Reads the best document's trained cartridge, and passages where it has none or the reader is unsure." },
  { mode: "rag", name: "RAG", hint: "Reads the best passages that retrieval finds, as text (retrieval-augmented generation)." },
  { mode: "icl", name: "ICL", hint: "Reads the whole text of the best document (in-context learning)." },
];

/**
 * The whole answer, after `onSources` was called once and `onToken` with every piece of text.
 * Raises Problem, and AbortError when `signal` stops it.
 */
export async function ask(question, collection, mode, { onSources, onToken }, signal) {
  const json = { question, collection, mode, stream: true };
  for await (const { event, data } of stream("answers", { method: "POST", json, signal })) {
    if (event === "sources") onSources(data);
    else if (event === "token") onToken(data.text);
    else if (event === "done") return data;
    else if (event === "error") throw new Problem(data.detail, data.status);
  }
  throw new Problem("The answer broke off before its end. Ask again.");
}
