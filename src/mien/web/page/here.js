/** The engine in this browser: the same models on WebAssembly, in a worker; nothing leaves the machine. */

import { EngineError } from "./engine.js";
import { notify } from "./notice.js";

const MAX_BYTES = 64_000_000; // of a picture

/** @typedef {{asked: Record<string, any>, resolve: Function, reject: Function}} Question */

/** @type {?Worker} */ let worker = null;
let isLoaded = false; // whether the worker has sent anything
let hasCrashed = false; // a worker, since the last picture or frame was recognised
let count = 0; // of questions and sessions
/** @type {Map<number, Question>} */ const waiting = new Map();
/** @type {Set<LocalSession>} */ const sessions = new Set();

/** @returns {import("./engine.js").Engine} */
export function engine() {
  return {
    name: "here",
    about,
    open: (settings, onstate) => new LocalSession(settings, onstate),
    predict: (picture, name, settings) => ask("predict", { picture, name, settings }),
    videos: null,
  };
}

/** Whether the page comes with models and the runtime. */
export const isThere = () => about().then(() => true, () => false);

async function about() {
  let answer;
  try {
    answer = await fetch(new URL("here/site.json", document.baseURI));
  } catch {
    throw new EngineError("gone");
  }
  if (answer.status === 503) throw new EngineError("busy");
  const { about: found } = answer.ok ? await answer.json() : { about: null };
  if (!found) throw new EngineError("refused", "this page has no models for the browser.", { code: "no-models" });
  return { ...found, limits: { bytes: MAX_BYTES } };
}

/** @param {string} question @param {object} [asked] @returns {Promise<any>} */
function ask(question, asked = {}) {
  worker ??= started();
  const id = (count += 1);
  return new Promise((resolve, reject) => {
    waiting.set(id, { asked: { id, ask: question, ...asked }, resolve, reject });
    worker?.postMessage(waiting.get(id)?.asked);
  });
}

function started() {
  isLoaded = false;
  const made = new Worker(new URL("here/worker.js", document.baseURI), { type: "module" });
  made.onmessage = ({ data: { id, answer, kind, detail } }) => {
    isLoaded = true;
    const question = waiting.get(id);
    waiting.delete(id);
    if (["predict", "see"].includes(question?.asked.ask)) hasCrashed = false;
    if (kind) question?.reject(new EngineError(kind, detail, { code: kind === "unreadable" ? "unreadable-picture" : null }));
    else question?.resolve(answer);
  };
  made.onerror = () => {
    if (made !== worker) return;
    made.terminate();
    worker = null;
    if (isLoaded && !hasCrashed) restart();
    else giveUp();
  };
  return made;
}

/** Start another worker in place of one that crashed, and ask it all that waits for an answer. */
function restart() {
  hasCrashed = true;
  worker = started();
  const unanswered = [...waiting.values()];
  for (const session of sessions) session.reopen();
  for (const { asked } of unanswered) worker.postMessage(asked);
  notify("restarted");
}

/** Reject all: the worker crashed again, or it cannot be loaded. */
function giveUp() {
  const error = isLoaded
    ? new EngineError("refused", "Recognition in this browser crashed twice.", { code: "crashed" })
    : new EngineError("gone", "Recognition in this browser could not be loaded.", { code: "not-loaded" });
  for (const { reject } of waiting.values()) reject(error);
  waiting.clear();
  for (const session of sessions) session.fail(error);
}

/** A session, as engine.js describes it. */
class LocalSession {
  /** @type {import("./engine.js").SessionState} */ state = "connecting";
  /** @type {?import("./engine.js").Ready} */ ready = null;
  roundTrip = 0;
  #id = (count += 1);
  #busy = false;
  #settings;
  #onstate;

  /** @param {import("./engine.js").Settings} settings @param {(session: any, error: ?EngineError) => void} onstate */
  constructor(settings, onstate) {
    this.#settings = settings;
    this.#onstate = onstate;
    sessions.add(this);
    this.#use("open");
  }

  get free() {
    return this.state === "ready" && !this.#busy;
  }

  /** @param {ImageBitmap} bitmap @param {number} time */
  async see(bitmap, time) {
    this.#busy = true;
    const began = performance.now();
    try {
      return await ask("see", { session: this.#id, bitmap, time }); // a copy of the bitmap
    } finally {
      this.#busy = false;
      const took = performance.now() - began;
      this.roundTrip = this.roundTrip ? 0.9 * this.roundTrip + 0.1 * took : took;
    }
  }

  /** @param {import("./engine.js").Settings} settings */
  change(settings) {
    this.#settings = settings;
    if (this.state !== "ready") this.state = "connecting";
    this.#use(this.ready ? "change" : "open");
  }

  statistics() {
    if (!this.ready) return Promise.reject(new EngineError("gone"));
    return ask("statistics", { session: this.#id });
  }

  async close() {
    this.state = "closed";
    sessions.delete(this);
    if (worker) await ask("close", { session: this.#id }).catch(() => {}); // it may crash
  }

  /** Open it in another worker, unless it waits for that already. */
  reopen() {
    if (!this.ready) return;
    this.state = "connecting";
    this.#use("open");
  }

  /** End it, as no worker has it any more. @param {EngineError} error */
  fail(error) {
    this.ready = null;
    this.state = "failed";
    this.#onstate(this, error);
  }

  /** @param {"open" | "change"} question */
  async #use(question) {
    try {
      const ready = await ask(question, { session: this.#id, settings: this.#settings });
      if (this.state === "closed") return;
      [this.ready, this.state] = [ready, "ready"];
      this.#onstate(this, null);
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      if (this.state === "connecting") this.state = "refused";
      this.#onstate(this, error);
    }
  }
}
