/** Files for the user: tables and records as mien writes them, annotated pictures, faces. */

import { drawFaces } from "./draw.js";

const COLUMNS = ["source", "index", "time", "face", "track", "x1", "y1", "x2", "y2", "score", "label", "confidence",
  "certain", "note"];
const ORIGIN = ["model", "label_set", "detector", "mien"];
const FORMULA = /^[=+\-@\t\r]/; // what a spreadsheet would take for one
const LINES = 1000; // that are kept as text, before they become a Blob, which the browser may put on disk
const MARGIN = 0.2; // around saved faces, relative to the box
const LARGEST_CANVAS = 16_000_000; // pixels that every browser draws; larger pictures are shrunk

/** @typedef {import("./engine.js").Seen} Seen */

/** What was seen, as JSON lines; of a stream of any length. */
export class Recorder {
  length = 0;
  /** @type {Blob[]} */ #blobs = [];
  /** @type {string[]} */ #lines = [];

  /** @param {Seen} seen */
  add(seen) {
    this.#lines.push(`${JSON.stringify(seen)}\n`);
    this.length += 1;
    if (this.#lines.length === LINES) this.#blobs.push(new Blob(this.#lines.splice(0)));
  }

  jsonl() {
    return new Blob([...this.#blobs, ...this.#lines], { type: "application/x-ndjson" });
  }

  async csv() {
    const text = await this.jsonl().text();
    return csv(text.split("\n").filter(Boolean).map((line) => JSON.parse(line)));
  }
}

/**
 * Return a table with one row per face, and one with a note per picture without a face.
 *
 * Where the label set changed, it has the columns of all of them.
 *
 * @param {Seen[]} records
 */
export function csv(records) {
  const faces = records.flatMap((record) => record.faces);
  const columns = [...COLUMNS, ...keys(faces, "probabilities", "p_"), ...keys(faces, "raw", "raw_"), ...ORIGIN];
  const rows = records.flatMap((record) => (record.faces.length ? record.faces.map((face) => row(record, face)) :
    [row(record, {})]));
  const lines = [columns, ...rows.map((cells) => columns.map((column) => cell(cells[column])))];
  return new Blob(lines.map((cells) => `${cells.map(quoted).join(",")}\n`), { type: "text/csv" });
}

/** @param {any[]} faces @param {string} key @param {string} prefix */
function keys(faces, key, prefix) {
  return [...new Set(faces.flatMap((face) => Object.keys(face[key] ?? {})))].map((label) => prefix + label);
}

/** @param {any} record @param {any} face @returns {Record<string, unknown>} */
function row(record, { box = [], probabilities = {}, raw = {}, ...rest }) {
  const prefixed = (/** @type {string} */ prefix, /** @type {object} */ of) =>
    Object.fromEntries(Object.entries(of).map(([label, value]) => [prefix + label, value]));
  const [x1, y1, x2, y2] = box;
  return { ...record, ...rest, x1, y1, x2, y2, ...prefixed("p_", probabilities), ...prefixed("raw_", raw) };
}

/** @param {unknown} value */
function cell(value) {
  const text = String(value ?? "");
  return typeof value === "string" && FORMULA.test(text) ? `'${text}` : text;
}

/** @param {string} text */
const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/**
 * Return a picture with its faces drawn, as PNG.
 *
 * @param {ImageBitmap} picture @param {Seen} seen @param {Omit<import("./draw.js").Look, "unit">} look
 */
export function annotated(picture, seen, look) {
  const scale = Math.min(1, Math.sqrt(LARGEST_CANVAS / (picture.width * picture.height)));
  const width = Math.round(scale * picture.width), height = Math.round(scale * picture.height);
  const { canvas, context } = canvasOf(width, height);
  context.drawImage(picture, 0, 0, width, height);
  const x = width / seen.width, y = height / seen.height;
  const boxes = seen.faces.map(({ box: [x1, y1, x2, y2] }) => ({ x1: x * x1, y1: y * y1, x2: x * x2, y2: y * y2 }));
  const unit = Math.max(1, Math.min(width, height) / 600);
  drawFaces(context, seen.faces, boxes, { x1: 0, y1: 0, x2: width, y2: height }, { ...look, unit });
  return canvas.convertToBlob({ type: "image/png" });
}

/**
 * Return each face as PNG, with its name: "face2-happy.png".
 *
 * @param {ImageBitmap} picture @param {Seen} seen @returns {Promise<[string, Blob][]>}
 */
export function crops(picture, seen) {
  const x = picture.width / seen.width, y = picture.height / seen.height;
  return Promise.all(seen.faces.map(async ({ box: [x1, y1, x2, y2], face, track, label }) => {
    const dx = MARGIN * (x2 - x1), dy = MARGIN * (y2 - y1);
    const left = Math.max(0, x * (x1 - dx)), top = Math.max(0, y * (y1 - dy));
    const width = Math.min(picture.width, x * (x2 + dx)) - left, height = Math.min(picture.height, y * (y2 + dy)) - top;
    const { canvas, context } = canvasOf(Math.max(1, Math.round(width)), Math.max(1, Math.round(height)));
    context.drawImage(picture, left, top, width, height, 0, 0, canvas.width, canvas.height);
    const who = track === null ? `face${face}` : `track${track}`;
    const name = `${who}-${label.replaceAll(/[^\p{L}\p{N}_-]+/gu, "_")}.png`;
    return /** @type {[string, Blob]} */ ([name, await canvas.convertToBlob({ type: "image/png" })]);
  }));
}

/** @param {number} width @param {number} height */
function canvasOf(width, height) {
  const canvas = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  return { canvas, context };
}

/** Let the browser save a file. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // once it was read
}

/** Return a file's name with the time: "mien-20261129-194512.csv". @param {string} kind @param {string} rest  ".csv", or a name */
export function named(kind, rest) {
  const now = new Date();
  const local = new Date(now.getTime() - 60_000 * now.getTimezoneOffset()).toISOString();
  return `${kind}-${local.slice(0, 10).replaceAll("-", "")}-${local.slice(11, 19).replaceAll(":", "")}${rest}`;
}
