/** Statistics of a stream, as `mien.sinks.statistics` counts them; `plain` gives the content of its statistics.json. */

const SCHEMA = 1;
const MAX_GAP = 1; // seconds counted for one frame at most
const MAX_BINS = 600; // of the timeline; even, since bins are merged in pairs
const MAX_TRACKS = 1000; // with counts of their own
const UNCERTAIN = "uncertain";

/** @typedef {{faces: number, seconds: number}} Count */

export class Statistics {
  /** @type {string[]} */ #labels;
  #origin;
  #frames = 0;
  #zero = 0; // the stream's clock at the first frame
  #seconds = 0; // from there to the last frame
  #whole;
  /** @type {Map<number, Record<string, Count>>} */ #byTrack = new Map();
  #tracks = new Set();
  #binSeconds = 1;
  /** @type {number[][]} */ #sums;
  #binFaces = new Array(MAX_BINS).fill(0);

  /** @param {string[]} labels @param {Record<string, string>} origin  model, label_set, detector, mien */
  constructor(labels, origin) {
    this.#labels = labels;
    this.#origin = origin;
    this.#whole = this.#none();
    this.#sums = Array.from({ length: MAX_BINS }, () => labels.map(() => 0));
  }

  /** @param {number} time @param {import("../engine.js").Face[]} faces */
  write(time, faces) {
    const before = this.#seconds;
    if (this.#frames === 0 || time - this.#zero < before) this.#zero = time - before;
    this.#seconds = Math.max(time - this.#zero, before);
    this.#frames += 1;
    const weight = Math.min(this.#seconds - before, MAX_GAP);
    while (this.#seconds >= MAX_BINS * this.#binSeconds) this.#merge();
    const bin = Math.floor(this.#seconds / this.#binSeconds);
    for (const face of faces) {
      count(this.#whole[face.label], weight);
      this.#binFaces[bin] += 1;
      for (const [i, label] of this.#labels.entries()) this.#sums[bin][i] += face.probabilities[label];
      if (face.track === null) continue;
      this.#tracks.add(face.track);
      if (!this.#byTrack.has(face.track) && this.#byTrack.size >= MAX_TRACKS) continue;
      if (!this.#byTrack.has(face.track)) this.#byTrack.set(face.track, this.#none());
      count(/** @type {any} */ (this.#byTrack.get(face.track))[face.label], weight);
    }
  }

  plain() {
    const bins = this.#frames ? Math.floor(this.#seconds / this.#binSeconds) + 1 : 0;
    const faces = this.#binFaces.slice(0, bins);
    const means = (/** @type {number} */ i) => faces.map((n, bin) => (n ? round(this.#sums[bin][i] / n, 6) : null));
    return {
      schema: SCHEMA, ...this.#origin, labels: this.#labels, frames: this.#frames, seconds: round(this.#seconds, 3),
      faces: total(this.#whole, "faces"), tracks: this.#tracks.size, expressions: shares(this.#whole),
      by_track: [...this.#byTrack].map(([track, counts]) => ({
        track, faces: total(counts, "faces"), seconds: round(total(counts, "seconds"), 3), expressions: shares(counts),
      })),
      timeline: {
        bin_seconds: this.#binSeconds, times: faces.map((_, bin) => (bin + 0.5) * this.#binSeconds), faces,
        probabilities: Object.fromEntries(this.#labels.map((label, i) => [label, means(i)])),
      },
    };
  }

  /** Merge pairs of bins; the second half is then empty. */
  #merge() {
    this.#binSeconds *= 2;
    for (let bin = 0; bin < MAX_BINS; bin += 1) {
      const [a, b] = [2 * bin, 2 * bin + 1];
      this.#binFaces[bin] = b < MAX_BINS ? this.#binFaces[a] + this.#binFaces[b] : 0;
      this.#sums[bin] = this.#labels.map((_, i) => (b < MAX_BINS ? this.#sums[a][i] + this.#sums[b][i] : 0));
    }
  }

  /** @returns {Record<string, Count>} */
  #none() {
    return Object.fromEntries([...this.#labels, UNCERTAIN].map((label) => [label, { faces: 0, seconds: 0 }]));
  }
}

/** @param {Count} of @param {number} seconds */
function count(of, seconds) {
  of.faces += 1;
  of.seconds += seconds;
}

/** @param {Record<string, Count>} counts @param {"faces" | "seconds"} what */
const total = (counts, what) => Object.values(counts).reduce((sum, one) => sum + one[what], 0);

/** Add each label's share of the seconds, or of the faces before any time has passed. @param {Record<string, Count>} counts */
function shares(counts) {
  const what = total(counts, "seconds") ? "seconds" : "faces", all = total(counts, what) || 1;
  const entries = Object.entries(counts).map(([label, { faces, seconds }]) => [
    label, { faces, seconds: round(seconds, 3), share: round(counts[label][what] / all, 6) },
  ]);
  return Object.fromEntries(entries);
}

/** @param {number} value @param {number} digits */
const round = (value, digits) => Math.round(value * 10 ** digits) / 10 ** digits;
