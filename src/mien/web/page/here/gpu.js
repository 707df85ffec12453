/**
 * Models on the graphics card by WebGPU, for streams.
 *
 * Whether that pays depends on the card, its driver and the model, so it is tried: a stream runs on WebAssembly until
 * the card has given the same answer in less time. Pictures stay on WebAssembly: their sizes differ, and each new size
 * may compile shaders.
 *
 * @typedef {import("./runtime.js").Model} Model
 * @typedef {(file: Uint8Array) => Promise<Model>} Open
 */

const FIRST_RUNS = 10; // on WebAssembly, until its code is optimised
const TIMED_RUNS = 3; // on either, after one on the card that compiles shaders
const MAX_MS = 10_000; // of a trial, or of a run on the card
const TOLERANCE = 1e-3; // of an output, relative to values above 1

/** @type {Promise<?Open> | undefined} */ let loading;

/** A Model that runs where it is faster. */
export class FastModel {
  #model;
  /** @type {?Uint8Array} */ #file;
  #load;
  /** @type {?Model} */ #fast = null;
  /** @type {?Open} */ #open = null;
  #runs = 0;

  /** @param {Model} model  on WebAssembly @param {Uint8Array} file  of the same model @param {() => Promise<?Open>} [load] */
  constructor(model, file, load = loadOnce) {
    this.#model = model;
    this.#file = file;
    this.#load = load;
  }

  get inputNames() {
    return this.#model.inputNames;
  }

  get outputNames() {
    return this.#model.outputNames;
  }

  /** @type {Model["run"]} */
  async run(feeds, outputs) {
    if (this.#fast) {
      try {
        return await inTime(run(this.#fast, feeds, outputs));
      } catch {
        this.#fast = null; // the card is lost
      }
    }
    const answer = await run(this.#model, feeds, outputs);
    this.#runs += 1;
    if (this.#runs === 1) this.#load().then((open) => (this.#open = open), () => {});
    if (this.#open && this.#file && this.#runs >= FIRST_RUNS) {
      const trial = this.#try(this.#open, this.#file, feeds, outputs, answer);
      this.#file = null; // once
      this.#fast = await inTime(trial).catch(() => null); // no such operator, no memory, a lost card
    }
    return answer;
  }

  /** Return the model on the card if it gives the answer in less time. @param {Open} open @param {Uint8Array} file @param {Record<string, any>} feeds @param {string[] | undefined} outputs @param {Record<string, any>} answer */
  async #try(open, file, feeds, outputs, answer) {
    const model = await open(file);
    if (!isAlike(await run(model, feeds, outputs), answer)) return null;
    const least = await leastTime(() => run(this.#model, feeds, outputs));
    return (await leastTime(() => run(model, feeds, outputs))) < least ? model : null;
  }
}

/** Return the ms of the fastest of some runs. @param {() => Promise<unknown>} work */
async function leastTime(work) {
  let least = Infinity;
  for (let i = 0; i < TIMED_RUNS; i += 1) {
    const began = performance.now();
    await work();
    least = Math.min(least, performance.now() - began);
  }
  return least;
}

/** Return a result of the card, which may hang. @template Result @param {Promise<Result>} result @returns {Promise<Result>} */
function inTime(result) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no answer")), MAX_MS);
    result.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** @param {Model} model @param {Record<string, any>} feeds @param {string[] | undefined} outputs */
const run = (model, feeds, outputs) => (outputs ? model.run(feeds, outputs) : model.run(feeds));

/** Whether all outputs are those of WebAssembly, but for rounding. @param {Record<string, any>} found @param {Record<string, any>} expected */
function isAlike(found, expected) {
  return Object.entries(expected).every(([name, { data }]) => {
    const other = found[name]?.data;
    if (other?.length !== data.length) return false;
    for (let i = 0; i < data.length; i += 1) {
      if (!(Math.abs(other[i] - data[i]) <= TOLERANCE * Math.max(1, Math.abs(data[i])))) return false;
    }
    return true;
  });
}

function loadOnce() {
  loading ??= load();
  return loading;
}

/**
 * Return what opens a model on the card, or null where there is none. ONNX Runtime's build for WebGPU is fetched for it.
 *
 * @param {(adapter: any) => boolean} [wanted]
 * @returns {Promise<?Open>}
 */
export async function load(wanted = isHardware) {
  const { gpu } = /** @type {any} */ (navigator);
  const adapter = "Suspending" in WebAssembly ? await gpu?.requestAdapter() : null; // the build waits by JSPI
  if (!adapter || !wanted(adapter)) return null;
  const ort = await import("./ort/ort.jspi.min.mjs");
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  return async (file) => {
    const session = await ort.InferenceSession.create(file, { executionProviders: ["webgpu"] });
    const { inputNames, outputNames } = session;
    return {
      inputNames, outputNames,
      run: (feeds, outputs) => {
        const own = Object.entries(feeds).map(([name, { type, data, dims }]) => [name, new ort.Tensor(type, data, dims)]);
        return session.run(Object.fromEntries(own), outputs ?? outputNames);
      },
    };
  };
}

/** @param {any} adapter */
const isHardware = (adapter) => !(adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter);
