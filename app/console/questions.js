// Questions for a report: lines of JSON, or plain questions, become what the API takes.
// Knows their form; knows nothing of where they come from.

import { Problem } from "./api.js";

/** The questions of a text: one on each line, as JSON with its answers, or as the question alone. */
export function parseQuestions(text) {
  const lines = text.split("\n").map((line) => line.trim());
  const found = lines.flatMap((line, index) => (line ? [questionOf(line, index + 1)] : []));
  if (!found.length) throw new Problem("There is no question yet. Write one on each line, or choose a file.");
  return found;
}

function questionOf(line, number) {
  if (line.startsWith("[")) {
    throw new Problem(`Line ${number} begins a list; write one question on each line, without brackets around them.`);
  }
  if (!line.startsWith("{")) return { question: line };
  let found;
  try {
    found = JSON.parse(line);
  } catch {
    throw new Problem(`Line ${number} is not JSON; write {"question": "…", "answers": ["…"], "documents": ["…"]}.`);
  }
  if (typeof found.question !== "string" || !found.question.trim()) throw new Problem(`Line ${number} has no question.`);
  // Not the same as an empty list, which says that the documents do not tell.
  if (!found.answers) throw new Problem(`Line ${number} has no "answers"; write a list, empty if the documents do not say.`);
  // A note that nobody reads; what else is not known, the API refuses.
  delete found.about;
  return found;
}
