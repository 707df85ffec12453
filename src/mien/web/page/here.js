/** The engine in this browser: the same models on WebAssembly, in a worker; nothing leaves the machine. */

import { EngineError } from "./engine.js";

const MAX_BYTES = 64_000_000; // of a picture

/** @type {?Worker} */ let worker = null;
let count = 0; // of questions and sessions
/** @type {Map<number, {resolve: Function, reject: Function}>} */ const waiting = new Map();

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
  const { about: found } = answer.ok ? await answer.json() : { about: null };
  if (!found) throw new EngineError("refused", "this page has no models for the browser");
  return { ...found, limits: { bytes: MAX_BYTES } };
}

/** @param {string} question @param {object} [asked] @returns {Promise<any>} */
function ask(question, asked = {}) {
  worker ??= started();
  const id = (count += 1);
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker?.postMessage({ id, ask: question, ...asked });
  });
}

function started() {
  const made = new Worker(new URL("here/worker.js", document.baseURI), { type: "module" });
  made.onmessage = ({ data: { id, answer, kind, detail } }) => {
    const asked = waiting.get(id);
    waiting.delete(id);
    if (kind) asked?.reject(new EngineError(kind, detail, { code: kind === "unreadable" ? "unreadable-picture" : null }));
    else asked?.resolve(answer);
  };
  made.onerror = (event) => { // the worker or the runtime cannot be loaded
    for (const { reject } of waiting.values()) reject(new EngineError("gone", event.message ?? ""));
    waiting.clear();
    worker = null;
  };
  return made;
}

/** A session, as engine.js describes it. */
class LocalSession {
  /** @type {import("./engine.js").SessionState} */ state = "connecting";
  /** @type {?import("./engine.js").Ready} */ ready = null;
  roundTrip = 0;
  #id = (count += 1);
  #busy = false;
  #onstate;

  /** @param {import("./engine.js").Settings} settings @param {(session: any, error: ?EngineError) => void} onstate */
  constructor(settings, onstate) {
    this.#onstate = onstate;
    this.#use("open", settings);
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
    this.#use("change", settings);
  }

  statistics() {
    return ask("statistics", { session: this.#id });
  }

  async close() {
    this.state = "closed";
    await ask("close", { session: this.#id });
  }

  /** @param {"open" | "change"} question @param {import("./engine.js").Settings} settings */
  async #use(question, settings) {
    try {
      const ready = await ask(question, { session: this.#id, settings });
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
