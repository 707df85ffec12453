/** What a stream showed so far: each expression's share of the time, and the course of the probabilities. */

const RECENT = 10; // seconds that are kept frame by frame
const MAX_BINS = 600; // of the whole course; pairs are merged above, as in mien's statistics
const MAX_GAP = 1; // seconds counted for one frame at most; a longer gap is a pause

/**
 * @typedef {object} Course
 * @property {number[]} times  in seconds
 * @property {(?number[])[]} rows  probabilities at each time; null without a face
 * @property {number} step  in seconds; a longer one is a gap
 * @property {number} half  seconds that the first and the last time of a run stand for, before and after
 * @property {number} start
 * @property {number} end
 */

export class History {
  frames = 0;
  seconds = 0; // since the first frame
  /** @type {Set<number>} */ tracks = new Set();
  /** @type {Record<string, number>} */ #seconds = {}; // of each label
  /** @type {Record<string, number>} */ #faces = {}; // of each label, each counted once per frame
  /** @type {{time: number, faces: import("./engine.js").Face[]}[]} */ #recent = [];
  /** @type {Map<?number, {sum: number[], faces: number}>[]} */ #bins = []; // track → sum; null: all faces
  #binSeconds = 1;
  #zero = 0;

  /** @param {string[]} labels */
  constructor(labels) {
    this.labels = labels;
  }

  /** @param {import("./engine.js").Seen} seen */
  add({ time, faces }) {
    const before = this.seconds;
    if (this.frames === 0 || time - this.#zero < before) this.#zero = time - before; // a restart continues
    this.seconds = Math.max(time - this.#zero, before);
    this.frames += 1;
    const weight = Math.min(this.seconds - before, MAX_GAP);
    while (this.seconds >= MAX_BINS * this.#binSeconds) this.#merge();
    const bin = (this.#bins[Math.floor(this.seconds / this.#binSeconds)] ??= new Map());
    for (const face of faces) {
      this.#seconds[face.label] = (this.#seconds[face.label] ?? 0) + weight;
      this.#faces[face.label] = (this.#faces[face.label] ?? 0) + 1;
      if (face.track !== null) this.tracks.add(face.track);
      const row = this.labels.map((label) => face.probabilities[label] ?? 0);
      addTo(bin, null, row, 1);
      if (face.track !== null) addTo(bin, face.track, row, 1);
    }
    this.#recent.push({ time: this.seconds, faces });
    while (this.#recent[0].time < this.seconds - RECENT) this.#recent.shift();
  }

  /** Return each label's share of the time, the largest first; before any has passed, of the faces. @returns {[string, number][]} */
  shares() {
    const amounts = this.seconds ? this.#seconds : this.#faces;
    const all = Object.values(amounts).reduce((sum, value) => sum + value, 0);
    const shares = Object.entries(amounts).map(([label, value]) => [label, all ? value / all : 0]);
    return /** @type {any} */ (shares).sort((/** @type {any} */ a, /** @type {any} */ b) => b[1] - a[1]);
  }

  /**
   * Return the last ten seconds.
   *
   * @param {?number} track  of one face; null for the mean of all
   * @returns {Course}
   */
  recent(track) {
    const rows = this.#recent.map(({ faces }) => {
      const chosen = track === null ? faces : faces.filter((face) => face.track === track);
      if (!chosen.length) return null;
      return this.labels.map((label) => mean(chosen.map((face) => face.probabilities[label] ?? 0)));
    });
    const end = Math.max(this.seconds, RECENT);
    return { times: this.#recent.map(({ time }) => time), rows, step: MAX_GAP, half: 0.02, start: end - RECENT, end };
  }

  /**
   * Return the whole course, in bins.
   *
   * @param {?number} track  of one face; null for the mean of all
   * @returns {Course}
   */
  whole(track) {
    const rows = Array.from(this.#bins, (bin) => {
      const found = bin?.get(track);
      return found ? found.sum.map((value) => value / found.faces) : null;
    });
    const times = rows.map((_, place) => (place + 0.5) * this.#binSeconds);
    const end = Math.max(rows.length, 1) * this.#binSeconds;
    return { times, rows, step: 1.5 * this.#binSeconds, half: this.#binSeconds / 2, start: 0, end };
  }

  #merge() {
    this.#binSeconds *= 2;
    const fine = this.#bins;
    this.#bins = [];
    fine.forEach((bin, place) => {
      const coarse = (this.#bins[Math.floor(place / 2)] ??= new Map());
      for (const [track, { sum, faces }] of bin) addTo(coarse, track, sum, faces);
    });
  }
}

/** @param {Map<?number, {sum: number[], faces: number}>} bin @param {?number} track @param {number[]} row @param {number} faces */
function addTo(bin, track, row, faces) {
  const old = bin.get(track);
  if (!old) bin.set(track, { sum: [...row], faces });
  else {
    row.forEach((value, place) => (old.sum[place] += value));
    old.faces += faces;
  }
}

/** @param {number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
