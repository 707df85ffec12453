/**
 * Faces by YuNet, as `mien.vision.yunet` finds them; in pictures also at other angles, as `mien.vision.rotated`.
 *
 * @typedef {[number, number, number, number]} Box  x1, y1, x2, y2 in pixels
 * @typedef {[number, number][]} Points
 * @typedef {object} Face
 * @property {Box} box
 * @property {number} score
 * @property {Points} landmarks  right eye, left eye, nose tip, right and left corner of the mouth
 * @property {?number} track
 *
 * @typedef {import("./pixels.js").Image} Image
 */

import { rint, shrink, warp } from "./pixels.js";
import { tensor } from "./runtime.js";

const STRIDES = [8, 16, 32]; // pixels of the image per cell, in each of the three output maps
const MAX_SIDE = 1280, SECOND_SIDE = 640; // pixels on the long side, of the two searches
const MIN_SCORE = 0.6;
const NMS_IOU = 0.3, NMS_TOP = 5000;
const UPRIGHT_SCORE = 0.9; // of a face for which no other angle is tried
const ANGLES = [45, 90, 135, 180, 225, 270, 315];
const SEARCH_SIDE = 480; // for the choice of the angle

export class YuNet {
  #model;

  /** @param {import("./runtime.js").Model} model */
  constructor(model) {
    this.#model = model;
  }

  /** Return the faces of an image, the best first. @param {Image} image @returns {Promise<Face[]>} */
  async detect(image) {
    const side = Math.max(image.width, image.height);
    const sides = [...new Set([Math.min(SECOND_SIDE, side), Math.min(MAX_SIDE, side)])];
    /** @type {Face[]} */ const found = [];
    for (const length of sides) found.push(...(await this.#search(image, length)));
    return selected(found);
  }

  /** Return the faces of a picture that may be rotated: upright ones, else those at the best angle. @param {Image} image @returns {Promise<Face[]>} */
  async detectTurned(image) {
    const faces = await this.detect(image);
    if (best(faces) >= UPRIGHT_SCORE) return faces;
    const small = shrunk(image, SEARCH_SIDE);
    let found = faces, chosen = 0;
    for (const angle of ANGLES) {
      const candidates = await this.#detectAt(small, angle);
      if (best(candidates) > best(found)) [found, chosen] = [candidates, angle];
    }
    if (!chosen) return faces;
    const finer = await this.#detectAt(shrunk(image, MAX_SIDE), chosen);
    return finer.length ? finer : found;
  }

  /** @param {{image: Image, factor: [number, number]}} shrunk @param {number} angle @returns {Promise<Face[]>} */
  async #detectAt({ image, factor: [fx, fy] }, angle) {
    const { turned, back } = turn(image, angle);
    const whole = [back[0] * fx, back[1] * fx, back[2] * fx, back[3] * fy, back[4] * fy, back[5] * fy];
    return (await this.detect(turned)).map((face) => turnBack(face, angle, whole));
  }

  /** @param {Image} image @param {number} side @returns {Promise<Face[]>} */
  async #search(image, side) {
    const { image: small, factor: [fx, fy] } = shrunk(image, side);
    const width = small.width + (-small.width & 31), height = small.height + (-small.height & 31);
    const outputs = await this.#model.run({ [this.#model.inputNames[0]]: input(small, width, height) });
    return suppressed(decoded(outputs, width)).map(({ x, y, w, h, points, score }) => ({
      box: [x * fx, y * fy, x * fx + w * fx, y * fy + h * fy], score, track: null,
      landmarks: points.map(([px, py]) => [Math.fround(px * fx), Math.fround(py * fy)]),
    }));
  }
}

/** @param {Face[]} faces */
const best = (faces) => faces.reduce((most, { score }) => Math.max(most, score), 0);

/** Return BGR float32 (1, 3, H, W) in [0, 255], black at the right and bottom. @param {Image} image @param {number} width @param {number} height */
function input(image, width, height) {
  const pixels = new Float32Array(3 * width * height), plane = width * height;
  for (let y = 0, from = 0; y < image.height; y += 1) {
    for (let to = y * width, end = to + image.width; to < end; to += 1, from += 4) {
      pixels[to] = image.data[from + 2];
      pixels[to + plane] = image.data[from + 1];
      pixels[to + 2 * plane] = image.data[from];
    }
  }
  return tensor("float32", pixels, [1, 3, height, width]);
}

/** @typedef {{x: number, y: number, w: number, h: number, points: Points, score: number}} Candidate */

/** @param {Record<string, {data: Float32Array}>} outputs @param {number} width  of the input @returns {Candidate[]} */
function decoded(outputs, width) {
  /** @type {Candidate[]} */ const found = [];
  const { fround } = Math;
  for (const stride of STRIDES) {
    const [cls, obj, bbox, kps] = ["cls", "obj", "bbox", "kps"].map((kind) => outputs[`${kind}_${stride}`].data);
    for (let i = 0; i < cls.length; i += 1) {
      const score = fround(Math.sqrt(fround(clip(cls[i]) * clip(obj[i]))));
      if (!(score >= fround(MIN_SCORE))) continue;
      const column = i % (width / stride), row = Math.floor(i / (width / stride));
      const w = Math.exp(bbox[4 * i + 2]) * stride, h = Math.exp(bbox[4 * i + 3]) * stride;
      const points = /** @type {Points} */ (Array.from({ length: 5 }, (_, point) => [
        (kps[10 * i + 2 * point] + column) * stride, (kps[10 * i + 2 * point + 1] + row) * stride,
      ]));
      const candidate = {
        x: (column + bbox[4 * i]) * stride - w / 2, y: (row + bbox[4 * i + 1]) * stride - h / 2, w, h, points, score,
      };
      if ([candidate.x, candidate.y, w, h, ...points.flat()].every(Number.isFinite)) found.push(candidate);
    }
  }
  return found;
}

/** @param {number} value */
const clip = (value) => Math.min(Math.max(value, 0), 1);

/** Drop candidates that overlap a better one; boxes are cut to whole pixels, as in OpenCV. @param {Candidate[]} candidates */
function suppressed(candidates) {
  const order = candidates.filter(({ score }) => score > MIN_SCORE).sort((a, b) => b.score - a.score).slice(0, NMS_TOP);
  /** @type {Candidate[]} */ const kept = [];
  const whole = (/** @type {Candidate} */ { x, y, w, h }) => [x, y, w, h].map(Math.trunc);
  for (const candidate of order) {
    const [x, y, w, h] = whole(candidate);
    const box = /** @type {Box} */ ([x, y, x + w, y + h]);
    const isCovered = kept.some((other) => {
      const [u, v, p, q] = whole(other);
      return iou(box, [u, v, u + p, v + q]) > NMS_IOU;
    });
    if (!isCovered) kept.push(candidate);
  }
  return kept;
}

/** Return faces by score, then place, without those that overlap a better one. @param {Face[]} faces */
function selected(faces) {
  const order = [...faces].sort((a, b) => b.score - a.score || a.box[0] - b.box[0] || a.box[1] - b.box[1]);
  /** @type {Face[]} */ const kept = [];
  for (const face of order) {
    if (face.score >= MIN_SCORE && !kept.some((other) => isSame(face.box, other.box))) kept.push(face);
  }
  return kept;
}

/** @param {Box} a @param {Box} b */
function isSame(a, b) {
  const overlap = iou(a, b);
  const shared = (overlap * (area(a) + area(b))) / (1 + overlap);
  return overlap > 0.3 || shared > 0.6 * Math.min(area(a), area(b));
}

/** @param {Box} box */
export const area = ([x1, y1, x2, y2]) => Math.max(x2 - x1, 0) * Math.max(y2 - y1, 0);

/** Return the intersection over union of two boxes. @param {Box} a @param {Box} b */
export function iou(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]), height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / (area(a) + area(b) - width * height);
}

/** Shrink to at most `side` pixels on the long side. @param {Image} image @param {number} side @returns {{image: Image, factor: [number, number]}} */
function shrunk(image, side) {
  const scale = Math.min(1, side / Math.max(image.width, image.height, 1));
  if (scale === 1) return { image, factor: [1, 1] };
  const small = shrink(image, Math.max(1, rint(image.width * scale)), Math.max(1, rint(image.height * scale)));
  return { image: small, factor: [image.width / small.width, image.height / small.height] };
}

/** Rotate an image clockwise, black around it; `back` is the matrix to the image. @param {Image} image @param {number} angle  in degrees */
function turn(image, angle) {
  const [cos, sin] = rotation(angle);
  const { width, height } = image;
  const newWidth = Math.max(rint(Math.abs(cos) * width + Math.abs(sin) * height), 1);
  const newHeight = Math.max(rint(Math.abs(sin) * width + Math.abs(cos) * height), 1);
  const back = /** @type {import("./pixels.js").Matrix} */ ([
    cos, sin, width / 2 - (cos * newWidth + sin * newHeight) / 2,
    -sin, cos, height / 2 - (cos * newHeight - sin * newWidth) / 2,
  ]);
  const centres = /** @type {import("./pixels.js").Matrix} */ ([...back]);
  centres[2] += (cos + sin) / 2 - 0.5; // coordinates are those of a pixel's centre
  centres[5] += (cos - sin) / 2 - 0.5;
  return { turned: warp(image, centres, newWidth, newHeight, false), back };
}

/** Map a face to the image; its box stays parallel to it. @param {Face} face @param {number} angle @param {number[]} back @returns {Face} */
function turnBack({ box: [x1, y1, x2, y2], landmarks, ...face }, angle, [a, b, c, d, e, f]) {
  const place = (/** @type {number} */ x, /** @type {number} */ y) => /** @type {[number, number]} */ ([a * x + b * y + c, d * x + e * y + f]);
  const [x, y] = place((x1 + x2) / 2, (y1 + y2) / 2);
  const [cos, sin] = rotation(angle).map(Math.abs), scale = Math.hypot(a, b) / (cos + sin);
  const width = scale * (cos * (x2 - x1) + sin * (y2 - y1)), height = scale * (sin * (x2 - x1) + cos * (y2 - y1));
  return {
    ...face, landmarks: landmarks.map(([px, py]) => place(px, py)),
    box: [x - width / 2, y - height / 2, x + width / 2, y + height / 2],
  };
}

/** @param {number} angle  in degrees @returns {[number, number]} cosine and sine, exact at right angles */
function rotation(angle) {
  const radians = (angle * Math.PI) / 180;
  return [Number(Math.cos(radians).toFixed(12)), Number(Math.sin(radians).toFixed(12))];
}
