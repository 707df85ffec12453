/** Pictures and streams to records of mien's JSON, as `mien.Recognizer` and `mien.Live`. */

import { crop } from "./crop.js";
import { isDark } from "./pixels.js";
import { Statistics } from "./statistics.js";
import { Smoother, Tracker } from "./track.js";

const SCHEMA = 1;
const MAX_DETECTION_GAP = 0.2; // seconds between two runs of the detector, while all faces are steady

/**
 * @typedef {object} Origin  with the model that is used
 * @property {string} model
 * @property {string} label_set
 * @property {string[]} labels
 * @property {string} detector
 * @property {string} mien  version
 * @property {import("./classifier.js").Classifier} classifier
 * @property {import("./faces.js").YuNet} faces
 * @property {number} minConfidence
 * @property {number} halfLife
 */

/** Return the record of a picture. @param {import("./pixels.js").Image} image @param {string} name @param {number} scale  pixels of the file per pixel of the image @param {Origin} origin */
export async function recognize(image, name, scale, origin) {
  const faces = (await origin.faces.detectTurned(image)).filter((face) => isInside(face, image));
  faces.sort(leftToRight);
  const probabilities = await origin.classifier.predict(faces.map((face) => crop(image, face)), origin.label_set);
  return record(image, name, 0, 0, scale, described(faces, probabilities, null, scale, origin), origin);
}

export class Live {
  #tracker = new Tracker();
  #smoother = new Smoother();
  #detected = 0; // time of the last frame that the detector saw
  #last = -Infinity;
  #index = 0;
  #statistics;
  #origin;

  /** @param {Origin} origin */
  constructor(origin) {
    this.#origin = origin;
    this.#statistics = statisticsOf(origin);
  }

  /** Another origin: tracks stay; statistics start again with another model, label set or detector. */
  set origin(/** @type {Origin} */ origin) {
    const keys = /** @type {const} */ (["model", "label_set", "detector"]);
    if (keys.some((key) => origin[key] !== this.#origin[key])) this.#statistics = statisticsOf(origin);
    this.#origin = origin;
  }

  /** @param {import("./pixels.js").Image} image @param {number} time  in seconds */
  async see(image, time) {
    const origin = this.#origin;
    if (time < this.#last) this.#tracker.update([], time); // the stream started again
    this.#last = time;
    const faces = (await this.#find(image, time)).sort(leftToRight);
    const raw = await origin.classifier.predict(faces.map((face) => crop(image, face)), origin.label_set);
    const key = `${origin.model} ${origin.label_set}`;
    const smoothed = this.#smoother.update(faces, raw, time, origin.halfLife, key);
    const shown = described(faces, smoothed, origin.halfLife ? raw : null, 1, origin);
    this.#statistics.write(time, shown);
    this.#index += 1;
    return record(image, "live", this.#index - 1, time, 1, shown, origin);
  }

  statistics() {
    return this.#statistics.plain();
  }

  /** @param {import("./pixels.js").Image} image @param {number} time @returns {Promise<import("./faces.js").Face[]>} */
  async #find(image, time) {
    const gap = time - this.#detected;
    if (gap >= 0 && gap < MAX_DETECTION_GAP && this.#tracker.steady) {
      return this.#tracker.predict(time).filter((face) => isInside(face, image));
    }
    const found = (await this.#origin.faces.detect(image)).filter((face) => isInside(face, image)).sort(leftToRight);
    this.#detected = time;
    return this.#tracker.update(found, time);
  }
}

/** @param {Origin} origin */
function statisticsOf({ labels, model, label_set, detector, mien }) {
  return new Statistics(labels, { model, label_set, detector, mien });
}

/** @param {import("./faces.js").Face} a @param {import("./faces.js").Face} b */
const leftToRight = (a, b) => a.box[0] - b.box[0] || a.box[1] - b.box[1];

/** @param {import("./faces.js").Face} face @param {import("./pixels.js").Image} image */
const isInside = ({ box: [x1, y1, x2, y2] }, { width, height }) => x1 < width && x2 > 0 && y1 < height && y2 > 0;

/** @param {import("./faces.js").Face[]} faces @param {number[][]} rows @param {?number[][]} raw @param {number} scale @param {Origin} origin @returns {import("../engine.js").Face[]} */
function described(faces, rows, raw, scale, { labels, minConfidence }) {
  const named = (/** @type {number[]} */ row) => Object.fromEntries(labels.map((label, k) => [label, round(row[k], 6)]));
  return faces.map(({ box, score, track }, i) => {
    const confidence = Math.max(...rows[i]), certain = confidence >= minConfidence;
    return {
      face: i + 1, track, box: /** @type {any} */ (box.map((side) => round(side * scale, 1))),
      score: round(Math.min(score, 1), 4), label: certain ? labels[rows[i].indexOf(confidence)] : "uncertain",
      confidence: round(confidence, 6), certain, probabilities: named(rows[i]), ...(raw && { raw: named(raw[i]) }),
    };
  });
}

/** @param {import("./pixels.js").Image} image @param {string} source @param {number} index @param {number} time @param {number} scale @param {import("../engine.js").Face[]} faces @param {Origin} origin @returns {import("../engine.js").Seen} */
function record(image, source, index, time, scale, faces, { model, label_set, detector, mien }) {
  const darkness = faces.length ? "" : `no face found${isDark(image) ? ": nearly black" : ""}`;
  return {
    source, index, time: round(time, 6), width: Math.round(image.width * scale), height: Math.round(image.height * scale),
    note: darkness, model, label_set, detector, mien, schema: SCHEMA, faces,
  };
}

/** @param {number} value @param {number} digits */
const round = (value, digits) => Math.round(value * 10 ** digits) / 10 ** digits;
