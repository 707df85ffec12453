/** The worker: loads models, and answers `predict`, `open`, `see`, `change`, `statistics` and `close`, one at a time. */

import { Classifier } from "./classifier.js";
import { YuNet } from "./faces.js";
import { FastModel } from "./gpu.js";
import { Live, recognize } from "./recognizer.js";
import { openModel } from "./runtime.js";

const MAX_PIXELS = 16_000_000; // of a picture; a larger one is shrunk
/** @template Kind @typedef {{pictures: Kind, streams: Kind}} Pair  one model, as it is run for each */
const FORMATS = "JPEG, PNG, WebP, AVIF, GIF or BMP"; // that browsers read

/** @type {Promise<any> | undefined} */ let site;
/** @type {Promise<Pair<YuNet>> | undefined} */ let faces;
/** @type {Map<string, Promise<Pair<Classifier>>>} */ const classifiers = new Map();
/** @type {Map<number, Live>} */ const sessions = new Map();
const canvas = new OffscreenCanvas(1, 1);
const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));

const answers = {
  /** @param {{picture: Blob, name: string, settings: any}} asked */
  async predict({ picture, name, settings }) {
    const origin = await originOf(settings, "pictures");
    const bitmap = await decoded(picture, name);
    const scale = Math.max(1, Math.sqrt((bitmap.width * bitmap.height) / MAX_PIXELS));
    const image = pixelsOf(bitmap, Math.round(bitmap.width / scale), Math.round(bitmap.height / scale));
    const exact = bitmap.width / image.width;
    bitmap.close();
    const seen = await recognize(image, name, exact, origin);
    const detail = `'${name}' has ${seen.width}x${seen.height} pixels and is read at ${image.width}x${image.height}`;
    return { seen, warnings: exact > 1 ? [{ code: "picture-shrunk", detail }] : [] };
  },
  /** @param {{session: number, settings: any}} asked */
  async open({ session, settings }) {
    const origin = await originOf(settings, "streams");
    sessions.set(session, new Live(origin));
    return ready(origin);
  },
  /** @param {{session: number, settings: any}} asked */
  async change({ session, settings }) {
    const origin = await originOf(settings, "streams");
    /** @type {Live} */ (sessions.get(session)).origin = origin;
    return ready(origin);
  },
  /** @param {{session: number, bitmap: ImageBitmap, time: number}} asked */
  async see({ session, bitmap, time }) {
    const image = pixelsOf(bitmap, bitmap.width, bitmap.height);
    bitmap.close();
    return /** @type {Live} */ (sessions.get(session)).see(image, time);
  },
  /** @param {{session: number}} asked */
  statistics: async ({ session }) => /** @type {Live} */ (sessions.get(session)).statistics(),
  /** @param {{session: number}} asked */
  close: async ({ session }) => void sessions.delete(session),
};

let last = Promise.resolve();
onmessage = ({ data: { id, ask, ...asked } }) => {
  last = last.then(async () => {
    try {
      postMessage({ id, answer: await answers[/** @type {keyof typeof answers} */ (ask)](asked) });
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) return void setTimeout(() => { throw error; }); // a crash
      const { kind = "refused", message } = /** @type {any} */ (error);
      postMessage({ id, kind, detail: String(message).split("\n")[0] });
    }
  });
};

postMessage({ id: 0 }); // loaded

/** @param {any} settings @param {"pictures" | "streams"} use @returns {Promise<import("./recognizer.js").Origin>} */
async function originOf({ model: name, labels, min_confidence, half_life }, use) {
  const { about, specs, detector } = await load();
  const model = about.models.find((/** @type {any} */ one) => one.name === (name ?? about.model));
  if (!model) throw Object.assign(new Error(`no model '${name}' here`), { kind: "refused" });
  const spec = specs[model.name];
  const head = spec.heads.find((/** @type {any} */ one) => one.name === (labels ?? model.default_labels)) ?? spec.heads[0];
  return {
    model: model.name, label_set: head.name, labels: head.labels, detector, mien: about.version,
    classifier: (await classifierOf(model.name, spec))[use], faces: (await facesOf())[use],
    minConfidence: min_confidence, halfLife: half_life,
  };
}

/** @param {import("./recognizer.js").Origin} origin */
async function ready({ model, labels, label_set, detector }) {
  const { about } = await load();
  const { colours } = about.models.find((/** @type {any} */ one) => one.name === model);
  return { model, labels, label_set, detector, colours: colours[label_set] };
}

function load() {
  site ??= fetched("site.json").then((answer) => answer.json());
  return site.catch((error) => {
    site = undefined; // tried again next time
    throw error;
  });
}

function facesOf() {
  faces ??= pairOf("yunet.onnx", (model) => new YuNet(model));
  return faces.catch((error) => {
    faces = undefined;
    throw error;
  });
}

/** @param {string} name @param {import("./classifier.js").Spec} spec */
function classifierOf(name, spec) {
  let found = classifiers.get(name);
  if (!found) {
    found = pairOf(`models/${encodeURIComponent(name)}.onnx`, (model) => new Classifier(model, spec));
    classifiers.set(name, found);
    found.catch(() => classifiers.delete(name));
  }
  return found;
}

/** @template Kind @param {string} path @param {(model: import("./runtime.js").Model) => Kind} make @returns {Promise<Pair<Kind>>} */
async function pairOf(path, make) {
  const file = await bytes(path);
  const model = await openModel(file);
  return { pictures: make(model), streams: make(new FastModel(model, file)) };
}

/** @param {string} path */
const bytes = async (path) => new Uint8Array(await (await fetched(path)).arrayBuffer());

/** @param {string} path */
async function fetched(path) {
  let answer;
  try {
    answer = await fetch(new URL(path, import.meta.url));
  } catch {
    throw Object.assign(new Error(`cannot load ${path}`), { kind: "gone" });
  }
  if (!answer.ok) throw Object.assign(new Error(`cannot load ${path}: ${answer.status}`), { kind: "gone" });
  return answer;
}

/** @param {Blob} picture @param {string} name */
async function decoded(picture, name) {
  try {
    return await createImageBitmap(picture, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw Object.assign(new Error(`'${name}' is not a picture that this browser reads; expected ${FORMATS}`), { kind: "unreadable" });
  }
}

/** Return the pixels of a picture; transparent ones are blended with white. @param {ImageBitmap} bitmap @param {number} width @param {number} height */
function pixelsOf(bitmap, width, height) {
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0, width, height);
  return { data: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}
