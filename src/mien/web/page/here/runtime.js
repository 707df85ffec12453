/** ONNX Runtime on WebAssembly. */

import * as ort from "./ort/ort.wasm.min.mjs";

const MAX_THREADS = 4;

/**
 * A model, ready to run.
 *
 * @typedef {object} Model
 * @property {readonly string[]} inputNames
 * @property {readonly string[]} outputNames
 * @property {(feeds: Record<string, any>, outputs?: string[]) => Promise<Record<string, any>>} run
 */

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = threads();
ort.env.logLevel = "error";

/** @param {Uint8Array} model  an ONNX file @returns {Promise<Model>} */
export const openModel = (model) => ort.InferenceSession.create(model, { executionProviders: ["wasm"] });

/** @param {"float32" | "uint8"} type @param {Float32Array | Uint8Array} data @param {number[]} shape */
export const tensor = (type, data, shape) => new ort.Tensor(type, data, shape);

/**
 * Return the number of threads: one per physical core, as waiting threads spin; one where the page is not isolated from
 * other origins, since it has no shared memory then.
 */
function threads() {
  const cores = Math.floor((navigator.hardwareConcurrency || 1) / 2); // two threads per core is the rule
  return globalThis.crossOriginIsolated ? Math.min(Math.max(cores, 1), MAX_THREADS) : 1;
}
