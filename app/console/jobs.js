// Jobs: followed by their event streams until they end, over broken connections too.
// Knows nothing of how they are shown.

import { getJson, path, stream } from "./api.js";

// A browser opens six connections to a server; some must be left for everything else.
const MOST_STREAMS = 3;
const RETRY_MS = 2000;
// Of those looked at every two seconds; more are looked at less often, as a key may ask so often and no more.
const LOOKED_AT_TOGETHER = 8;
let streams = 0;
let followed = 0;

/** Whether the job has ended. */
export function isFinished(job) {
  return job.status !== "queued" && job.status !== "running";
}

/** A job as it stands. */
export function getJob(id, signal) {
  return getJson(path("jobs", id), { signal });
}

/** Ask a job to stop. */
export function cancelJob(id) {
  return getJson(path("jobs", id), { method: "DELETE" });
}

/** Call `onChange` with the job at every change, until it has ended. Raises Problem and AbortError. */
export async function follow(id, onChange, signal) {
  followed += 1;
  try {
    for (;;) {
      let times = Math.max(1, (followed - MOST_STREAMS) / LOOKED_AT_TOGETHER);
      try {
        if (await look(id, onChange, signal)) return;
      } catch (error) {
        // Without an answer the service may be starting again; a refusal will stay one, but for "too often".
        const refused = error.status > 0 && error.status < 500 && error.status !== 429;
        if (error.name === "AbortError" || refused) throw error;
        if (error.status === 429) times *= 5;
      }
      await pause(RETRY_MS * times, signal);
    }
  } finally {
    followed -= 1;
  }
}

async function look(id, onChange, signal) {
  if (streams >= MOST_STREAMS) {
    const job = await getJob(id, signal);
    onChange(job);
    return isFinished(job);
  }
  streams += 1;
  try {
    for await (const { event, data } of stream(path("jobs", id, "events"), { signal })) {
      if (event !== "job") continue;
      onChange(data);
      if (isFinished(data)) return true;
    }
    return false;
  } finally {
    streams -= 1;
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const aborted = () => {
      clearTimeout(timer);
      reject(new DOMException("Not followed any more.", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", aborted);
      resolve();
    }, milliseconds);
    if (signal.aborted) aborted();
    signal.addEventListener("abort", aborted, { once: true });
  });
}
