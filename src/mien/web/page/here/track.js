/** Tracks of faces, and smoothing along them, as `mien.vision.track` and `mien.vision.smooth`. */

import { area, iou } from "./faces.js";

/** @typedef {import("./faces.js").Face} Face */
/** @typedef {{face: Face, seen: number, hits: number, centre: number[], speed: number[], covariance: number[]}} Track */

// The reasons for these values are in mien/vision/track.py
const MAX_GAP = 1, CONFIRM = 3, SURE = 0.7, MIN_IOU = 0.1, NOISE = 0.02, ACCELERATION = 2, SLOW = 0.5, START_SPEED = 1;
const FORGET_AFTER = 30; // half-lives

export class Tracker {
  /** @type {Track[]} */ #tracks = [];
  #time = 0; // of the last update
  #count = 0; // of all tracks so far

  /** Return the faces with their tracks, in the same order. @param {Face[]} faces @param {number} time  in seconds */
  update(faces, time) {
    if (time < this.#time) this.#tracks = [];
    this.#time = time;
    const living = this.#tracks.filter(({ seen }) => time - seen <= MAX_GAP);
    const owners = pairs(living, faces, time);
    const newcomers = faces.map((_, i) => i).filter((i) => !owners.has(i))
      .sort((a, b) => faces[a].box[0] - faces[b].box[0] || faces[a].box[1] - faces[b].box[1]);
    const seen = new Map([...owners].map(([face, track]) => [face, follow(living[track], faces[face], time)]));
    for (const i of newcomers) seen.set(i, this.#begin(faces[i], time));
    const matched = new Set(owners.values());
    const missed = living.filter((_, i) => !matched.has(i));
    const found = faces.map((_, i) => /** @type {Track} */ (seen.get(i)));
    this.#tracks = [...found, ...missed];
    return found.map(({ face }) => face);
  }

  /** Return the faces of a frame without detection. @param {number} time */
  predict(time) {
    return this.#tracks.filter(({ seen, hits }) => time >= seen && time - seen <= MAX_GAP && hits >= CONFIRM)
      .map((track) => moved(track, time));
  }

  /** Whether detection may be skipped: there are faces, all confirmed, detected in the last update, and slow. */
  get steady() {
    const tracks = this.#tracks.filter(({ seen, hits }) => seen === this.#time || hits >= CONFIRM);
    return tracks.length > 0 && tracks.every((track) =>
      track.seen === this.#time && track.hits >= CONFIRM &&
      Math.hypot(...track.speed) / Math.sqrt(Math.max(area(track.face.box), 1)) <= SLOW);
  }

  /** @param {Face} face @param {number} time @returns {Track} */
  #begin(face, time) {
    this.#count += 1;
    const covariance = [NOISE ** 2, 0, START_SPEED ** 2];
    return { face: { ...face, track: this.#count }, seen: time, hits: 1, centre: centre(face.box), speed: [0, 0], covariance };
  }
}

/** @param {import("./faces.js").Box} box */
const centre = ([x1, y1, x2, y2]) => [(x1 + x2) / 2, (y1 + y2) / 2];

/** @param {Track} track @param {number} time @returns {Face} */
function moved({ face, speed, seen }, time) {
  const [dx, dy] = speed.map((value) => value * (time - seen));
  const [x1, y1, x2, y2] = face.box;
  return { ...face, box: [x1 + dx, y1 + dy, x2 + dx, y2 + dy], landmarks: face.landmarks.map(([x, y]) => [x + dx, y + dy]) };
}

/** Return matches, face → track, by decreasing overlap, faces of high score first. @param {Track[]} tracks @param {Face[]} faces @param {number} time @returns {Map<number, number>} */
function pairs(tracks, faces, time) {
  /** @type {number[][]} */ const candidates = [];
  for (const [t, track] of tracks.entries()) {
    const { box } = moved(track, time);
    for (const [f, face] of faces.entries()) {
      const overlap = iou(box, face.box);
      if (overlap >= MIN_IOU) candidates.push([Number(face.score < SURE), -overlap, track.face.track ?? 0, face.box[0], face.box[1], t, f]);
    }
  }
  candidates.sort((a, b) => a.map((value, i) => value - b[i]).find((difference) => difference) ?? 0);
  /** @type {Map<number, number>} */ const owners = new Map();
  const taken = new Set();
  for (const [, , , , , t, f] of candidates) {
    if (taken.has(t) || owners.has(f)) continue;
    taken.add(t);
    owners.set(f, t);
  }
  return owners;
}

/** One step of the Kalman filter of constant speed. @param {Track} track @param {Face} face @param {number} time @returns {Track} */
function follow(track, face, time) {
  const gap = time - track.seen;
  let [place, both, speed] = track.covariance;
  place += gap * (2 * both + gap * speed) + (ACCELERATION ** 2 * gap ** 3) / 3;
  both += gap * speed + (ACCELERATION ** 2 * gap ** 2) / 2;
  speed += ACCELERATION ** 2 * gap;
  const placeGain = place / (place + NOISE ** 2), speedGain = both / (place + NOISE ** 2);
  const expected = track.centre.map((value, i) => value + gap * track.speed[i]);
  const surprise = centre(face.box).map((value, i) => value - expected[i]);
  return {
    face: { ...face, track: track.face.track }, seen: time, hits: track.hits + 1,
    centre: expected.map((value, i) => value + placeGain * surprise[i]),
    speed: track.speed.map((value, i) => value + speedGain * surprise[i]),
    covariance: [(1 - placeGain) * place, (1 - placeGain) * both, speed - speedGain * both],
  };
}

/** Smooths the probabilities of each track: after a half-life, a frame counts half. */
export class Smoother {
  /** @type {Map<number, {probabilities: number[], head: string, time: number}>} */ #last = new Map();

  /**
   * @param {Face[]} faces
   * @param {number[][]} probabilities  one row per face
   * @param {number} time  in seconds
   * @param {number} halfLife  in seconds; 0 for no smoothing
   * @param {string} head  another one starts anew
   */
  update(faces, probabilities, time, halfLife, head) {
    if (!halfLife) return probabilities;
    for (const [track, last] of this.#last) {
      if (!(time >= last.time && time - last.time <= FORGET_AFTER * halfLife)) this.#last.delete(track);
    }
    return probabilities.map((fresh, i) => {
      const track = faces[i].track ?? 0;
      const last = this.#last.get(track);
      const old = last?.head === head ? last : { probabilities: fresh, time };
      const weight = 0.5 ** ((time - old.time) / halfLife);
      const smoothed = fresh.map((p, k) => Math.fround(weight * old.probabilities[k] + (1 - weight) * p));
      this.#last.set(track, { probabilities: smoothed, head, time });
      return smoothed;
    });
  }
}
