/**
 * Models on the graphics card by WebGPU, for streams.
 *
 * Whether that pays depends on the card, its driver and the model, so it is tried: a stream runs on WebAssembly until
 * the card has given the same answer in less time. Pictures stay on WebAssembly: their sizes differ, and each new size
 * may compile shaders.
 *
 * @typedef {import("./runtime.js").Model} Model
 */

const FIRST_RUNS = 10; // on WebAssembly, until its code is optimised
const TIMED_RUNS = 3; // on the card, after one that compiles shaders
const TOLERANCE = 1e-3; // of an output, relative to values above 1

/** @type {Promise<?((file: Uint8Array) => Promise<Model>)> | undefined} */ let loading;

/** A Model that runs where it is faster. */
export class FastModel {
  #model;
  /** @type {?Uint8Array} */ #file;
  #load;
  /** @type {?Model} */ #fast = null;
  /** @type {?((file: Uint8Array) => Promise<Model>)} */ #open = null;
  #runs = 0;
  #least = Infinity; // ms of a run on WebAssembly

  /** @param {Model} model  on WebAssembly @param {Uint8Array} file  of the same model @param {() => Promise<?((file: Uint8Array) => Promise<Model>)>} [load] */
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
        return await run(this.#fast, feeds, outputs);
      } catch {
        this.#fast = null; // the card is lost
      }
    }
    const began = performance.now();
    const answer = await run(this.#model, feeds, outputs);
    this.#least = Math.min(this.#least, performance.now() - began);
    this.#runs += 1;
    if (this.#runs === 1) this.#load().then((open) => (this.#open = open), () => {});
    if (this.#open && this.#file && this.#runs >= FIRST_RUNS) await this.#try(this.#open, this.#file, feeds, outputs, answer);
    return answer;
  }

  /** Use the card from now on if it gives the answer in less time. @param {(file: Uint8Array) => Promise<Model>} open @param {Uint8Array} file @param {Record<string, any>} feeds @param {string[] | undefined} outputs @param {Record<string, any>} answer */
  async #try(open, file, feeds, outputs, answer) {
    this.#file = null; // once
    try {
      const model = await open(file);
      if (!isAlike(await run(model, feeds, outputs), answer)) return;
      const began = performance.now();
      for (let i = 0; i < TIMED_RUNS; i += 1) await run(model, feeds, outputs);
      if ((performance.now() - began) / TIMED_RUNS < this.#least) this.#fast = model;
    } catch {
      // no such operator, no memory, a lost card: WebAssembly goes on
    }
  }
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
 * @returns {Promise<?((file: Uint8Array) => Promise<Model>)>}
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
