// Jobs: looked at again and again until they end, over broken connections too.
// Knows nothing of how they are shown.

import { getJson, path } from "./api.js";

// Not by their event streams: a browser has six connections to a server for all its tabs, and each stream
// would hold one of them for as long as its job takes.
const LOOK_MS = 500;
// Of those looked at twice a second; more are looked at less often, as a key may ask so often and no more.
const LOOKED_AT_TOGETHER = 2;
const UNSEEN = 10; // times as seldom while the page is not looked at
let followed = 0;

/** Whether the job has ended. */
export function isFinished(job) {
  return job.status !== "queued" && job.status !== "running";
}

/** A job as it stands. */
export function getJob(id, signal) {
  return getJson(path("jobs", id), { signal });
}

/** The last jobs of a collection, the newest first, by id. */
export async function newestJobs(collection, signal) {
  const { jobs } = await getJson(`jobs?${new URLSearchParams({ collection, limit: 200 })}`, { signal });
  return new Map(jobs.map((job) => [job.id, job]));
}

/** Do a job that ended badly again; what is then waited for may be another one. */
export async function retryJob(id) {
  return (await getJson(path("jobs", id, "retry"), { method: "POST" })).job;
}

/** Ask a job to stop. */
export function cancelJob(id) {
  return getJson(path("jobs", id), { method: "DELETE" });
}

/** Call `onChange` with the job at every look, until it has ended. Raises Problem and AbortError. */
export async function follow(id, onChange, signal) {
  followed += 1;
  try {
    for (;;) {
      let times = Math.max(1, followed / LOOKED_AT_TOGETHER) * (document.hidden ? UNSEEN : 1);
      try {
        const job = await getJob(id, signal);
        onChange(job);
        if (isFinished(job)) return;
      } catch (error) {
        // Without an answer the service may be starting again; a refusal will stay one, but for "too often".
        const refused = error.status > 0 && error.status < 500 && error.status !== 429;
        if (error.name === "AbortError" || refused) throw error;
        times *= error.status === 429 ? 10 : 2;
      }
      await pause(LOOK_MS * times, signal);
    }
  } finally {
    followed -= 1;
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted);
      document.removeEventListener("visibilitychange", seen);
    };
    const aborted = () => {
      done();
      reject(new DOMException("Not followed any more.", "AbortError"));
    };
    const over = () => {
      done();
      resolve();
    };
    // Whoever comes back to the page wants to see how things are now.
    const seen = () => {
      if (!document.hidden) over();
    };
    const timer = setTimeout(over, milliseconds);
    document.addEventListener("visibilitychange", seen);
    if (signal.aborted) aborted();
    signal.addEventListener("abort", aborted, { once: true });
  });
}
