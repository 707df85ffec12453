/**
 * What the page asks to recognise: the interface, and the engines that have it.
 *
 * An engine is a module that exports `engine()`; it is imported when it is chosen. A new one is a module and an entry
 * in `ENGINES`.
 *
 * @typedef {object} Settings  null stands for the engine's own choice
 * @property {?string} model
 * @property {?string} labels  name of a label set of the model
 * @property {?string} detector
 * @property {number} min_confidence  below it a label is "uncertain", in [0, 1]
 * @property {number} half_life  of the smoothing over time, in seconds; 0 for none
 * @property {boolean} temporal  whether a temporal model smooths instead
 *
 * @typedef {object} Face  as in mien's JSON
 * @property {number} face  number in the picture, from 1, left to right
 * @property {?number} track  number in a stream, the same in all frames; null on stills
 * @property {[number, number, number, number]} box  x1, y1, x2, y2 in pixels of the picture
 * @property {number} score  of the detector
 * @property {string} label  or "uncertain"
 * @property {number} confidence
 * @property {boolean} certain
 * @property {Record<string, number>} probabilities
 * @property {Record<string, number>} [raw]  of this frame alone, where the others are smoothed
 *
 * @typedef {object} Seen  a record of mien's JSON lines
 * @property {string} source
 * @property {number} index
 * @property {number} time  in seconds
 * @property {string} note
 * @property {string} model
 * @property {string} label_set
 * @property {string} detector
 * @property {string} mien  version
 * @property {number} schema
 * @property {Face[]} faces
 * @property {number} width  of the picture that the boxes are in, in pixels
 * @property {number} height
 *
 * @typedef {object} Ready  what a session uses
 * @property {string} model
 * @property {string[]} labels
 * @property {string} label_set
 * @property {string} detector
 * @property {Record<string, string>} colours  label, or "uncertain" → "#rrggbb"
 *
 * @typedef {"connecting" | "ready" | "asleep" | "lost" | "busy" | "token" | "refused" | "failed" | "closed"} SessionState
 *   "asleep" ended after a silence and wakes with the next frame; "lost" and "busy" are tried again by themselves;
 *   "token", "refused" and "failed" (the engine itself) have ended.
 *
 * @typedef {object} Session  a stream of frames whose faces keep their track
 * @property {SessionState} state
 * @property {?Ready} ready  null until it is known
 * @property {boolean} free  whether `see` may be called: not while as many frames as are good are in flight
 * @property {number} roundTrip  of a frame, in ms, averaged
 * @property {(bitmap: ImageBitmap, time: number) => Promise<Seen>} see  the bitmap stays the caller's, and open until
 *   the answer; rejects with an EngineError, after which the session goes on unless its state says otherwise
 * @property {(settings: Settings) => void} change  tracks stay; `onstate` reports the new `ready`
 * @property {() => Promise<object>} statistics  as in mien's statistics.json
 * @property {() => Promise<void>} close
 *
 * @typedef {object} Job  a video that is recognised as a whole
 * @property {string} id
 * @property {"queued" | "running" | "done" | "failed"} state
 * @property {?number} frames
 * @property {number} done  frames
 * @property {?string} error
 * @property {?string} code  of the error, as in EngineError
 * @property {Problem[]} warnings
 * @property {?object} statistics  as in mien's statistics.json, once it is done
 *
 * @typedef {object} Videos
 * @property {(file: File, settings: Settings, progress: (share: number) => void, signal: AbortSignal) => Promise<Job>}
 *   submit  progress is of the upload, in [0, 1]
 * @property {(id: string) => Promise<Job>} job
 * @property {(id: string) => Promise<void>} remove
 * @property {(id: string, name: "faces.csv" | "faces.jsonl" | "annotated.mp4") => Promise<Blob>} file
 *
 * @typedef {object} Model
 * @property {string} name
 * @property {Record<string, string[]>} labels  by label set
 * @property {Record<string, Record<string, string>>} colours  by label set: label, or "uncertain" → "#rrggbb"
 * @property {string} default_labels
 * @property {string[]} temporal  label sets for which it has a temporal model
 * @property {number} size  in bytes
 *
 * @typedef {object} About
 * @property {string} version
 * @property {string} model  the default one
 * @property {Model[]} models
 * @property {string} detector  the default one
 * @property {string[]} detectors
 * @property {{bytes: number, video_bytes?: number}} limits
 *
 * @typedef {object} Engine
 * @property {string} name  key in `ENGINES`
 * @property {() => Promise<About>} about
 * @property {(settings: Settings, onstate: (session: Session, error: ?EngineError) => void) => Session} open
 * @property {(picture: Blob, name: string, settings: Settings) => Promise<{seen: Seen, warnings: Problem[]}>} predict
 * @property {?Videos} videos  null where whole videos are not recognised
 */

/** @type {Record<string, () => Promise<Engine>>} */
export const ENGINES = {
  server: async () => (await import("./server.js")).engine(),
  here: async () => (await import("./here.js")).engine(),
};

/** Whether this is a static site, without a service. */
export const isStatic = document.querySelector('meta[name="mien-site"]') !== null;

/**
 * Return the names of the engines that this page comes with.
 *
 * @param {string} chosen  is among them, there or not: pictures that are to stay here aren't sent to a server unasked
 */
export async function available(chosen) {
  if (isStatic) return ["here"];
  const { isThere } = await import("./here.js");
  return chosen === "here" || (await isThere()) ? ["server", "here"] : ["server"];
}

/**
 * An error of an engine, in one line for the user.
 *
 * Its kind is what the page does about it. "gone": no answer; "busy": try again after `seconds`; "token": one is wanted, or another; "unreadable": the picture
 * cannot be decoded; "large": it has too many bytes; "refused": anything else. `message` says why, in English.
 */
export class EngineError extends Error {
  /**
   * @param {"gone" | "busy" | "token" | "unreadable" | "large" | "refused"} kind
   * @param {string} detail
   * @param {{code?: ?string, seconds?: number}} [more]  code of the service's problem, for translations
   */
  constructor(kind, detail = "", { code = null, seconds = 1 } = {}) {
    super(detail);
    this.name = "EngineError";
    this.kind = kind;
    this.code = code;
    this.seconds = seconds;
  }
}

/**
 * What a user is told of an error.
 *
 * @typedef {{detail: string, code: ?string}} Problem
 * @param {EngineError} error
 * @returns {Problem}
 */
export const problemOf = ({ message, code }) => ({ detail: message, code });
