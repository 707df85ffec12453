/** ONNX Runtime on WebAssembly. */

import * as ort from "./ort/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more spin while they wait, and were slower than one on a busy machine
ort.env.logLevel = "error";

/** @param {Uint8Array} model  an ONNX file @returns {Promise<any>} */
export const openModel = (model) => ort.InferenceSession.create(model, { executionProviders: ["wasm"] });

/** @param {"float32" | "uint8"} type @param {Float32Array | Uint8Array} data @param {number[]} shape */
export const tensor = (type, data, shape) => new ort.Tensor(type, data, shape);
