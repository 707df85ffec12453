/**
 * A live session by WebSocket: frames go there as JPEG, expressions come back.
 *
 * A lost connection is opened again by itself, at first at once, then ever more slowly.
 */

import { EngineError } from "./engine.js";

const QUALITY = 0.8; // of the JPEGs: 20 kB and 5 ms to encode at 640x480
const MAX_SIDE = 1280; // in pixels; larger frames are shrunk
const HEAD = 12; // bytes before the JPEG: number (uint32) and time (float64), little-endian
const MAX_WAIT = 5; // seconds between two tries
const SLOW = 2; // round trips per time of the server, above which one frame is in flight at a time
const KEPT = 0.9; // weight of the past in averages
const CLOSES = /** @type {Record<number, import("./engine.js").SessionState>} */ ({
  1001: "asleep", 1008: "refused", 1013: "busy",
});

/**
 * @param {() => {url: URL, protocols: string[]}} address
 * @param {import("./engine.js").Settings} settings
 * @param {(session: import("./engine.js").Session, error: ?EngineError) => void} onstate
 * @param {() => Promise<void>} reachable  throws the EngineError for which there is no session
 * @returns {import("./engine.js").Session}
 */
export function openSession(address, settings, onstate, reachable) {
  return new SocketSession(address, settings, onstate, reachable);
}

class SocketSession {
  /** @type {import("./engine.js").SessionState} */
  state = "connecting";
  /** @type {?import("./engine.js").Ready} */
  ready = null;
  roundTrip = 0;

  #address;
  #settings;
  #onstate;
  #reachable;
  /** @type {?WebSocket} */ #socket = null;
  #credit = 1;
  #largest = Infinity; // bytes of a frame
  #serverTime = 0; // ms per frame, averaged
  #number = 0;
  #failures = 0;
  #timer = 0;
  /** The last settings that were not taken. @type {?EngineError} */ #refusal = null;
  /** @type {Map<number, {resolve: Function, reject: Function, sent: number}>} */ #pending = new Map();
  /** @type {{resolve: Function, reject: Function}[]} */ #asking = []; // for statistics
  #canvas = new OffscreenCanvas(1, 1);
  /** @type {Promise<any>} */ #encoded = Promise.resolve();

  /** @param {any} address @param {any} settings @param {any} onstate @param {any} reachable */
  constructor(address, settings, onstate, reachable) {
    this.#address = address;
    this.#settings = settings;
    this.#onstate = onstate;
    this.#reachable = reachable;
    this.#connect();
  }

  get free() {
    if (this.state === "asleep") return true;
    const slow = this.roundTrip > SLOW * this.#serverTime;
    return this.state === "ready" && this.#pending.size < (slow ? 1 : this.#credit);
  }

  /** @param {ImageBitmap} bitmap @param {number} time */
  async see(bitmap, time) {
    if (this.state === "asleep") this.#connect();
    if (this.state !== "ready") throw new EngineError("gone");
    const number = this.#number++;
    const socket = this.#socket;
    const waiting = { resolve: () => {}, reject: () => {}, sent: 0 };
    const answer = new Promise((resolve, reject) => Object.assign(waiting, { resolve, reject }));
    answer.catch(() => {}); // the caller awaits it below, unless encoding fails first
    this.#pending.set(number, waiting);
    try {
      const encoding = this.#encoded.then(() => this.#encode(bitmap)); // in turn, so that frames keep their order
      this.#encoded = encoding.catch(() => {});
      const jpeg = await encoding;
      if (jpeg.size > this.#largest) throw new EngineError("large", `${jpeg.size} bytes, at most ${this.#largest}`);
      const message = new Uint8Array(HEAD + jpeg.size);
      const head = new DataView(message.buffer);
      head.setUint32(0, number, true);
      head.setFloat64(4, time, true);
      message.set(new Uint8Array(await jpeg.arrayBuffer()), HEAD);
      if (socket !== this.#socket) throw new EngineError("gone");
      waiting.sent = performance.now();
      /** @type {WebSocket} */ (socket).send(message);
    } catch (error) {
      this.#pending.delete(number);
      throw error;
    }
    return answer;
  }

  /** @param {import("./engine.js").Settings} settings */
  change(settings) {
    this.#settings = settings;
    if (this.state === "ready") this.#send({ type: "change", ...settings });
    else if (this.state === "refused") this.#connect();
  }

  statistics() {
    if (this.state !== "ready") return Promise.reject(new EngineError("gone"));
    return new Promise((resolve, reject) => {
      this.#asking.push({ resolve, reject });
      this.#send({ type: "statistics" });
    });
  }

  async close() {
    clearTimeout(this.#timer);
    this.#move("closed");
    if (this.#socket?.readyState === WebSocket.OPEN) this.#send({ type: "stop" }); // the server closes
    else this.#socket?.close();
    this.#drop(new EngineError("gone"));
    this.#socket = null;
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#move("connecting");
    const { url, protocols } = this.#address();
    const socket = new WebSocket(url, protocols);
    this.#socket = socket;
    socket.onopen = () => this.#send({ type: "start", ...this.#settings });
    socket.onmessage = (event) => socket === this.#socket && this.#receive(JSON.parse(event.data));
    socket.onclose = (event) => socket === this.#socket && this.#lose(event);
  }

  /** @param {object} message */
  #send(message) {
    this.#socket?.send(JSON.stringify(message));
  }

  /** @param {any} message */
  #receive(message) {
    if (message.type === "result") this.#answer(message);
    else if (message.type === "ready") this.#begin(message);
    else if (message.type === "statistics") this.#asking.shift()?.resolve(plain(message));
    else if (message.type === "error") this.#fail(message);
  }

  /** @param {any} message */
  #begin({ credit, max_bytes, ...ready }) {
    this.ready = ready;
    this.#credit = credit ?? 1;
    this.#largest = max_bytes ?? Infinity;
    this.#failures = 0;
    this.#move("ready");
  }

  /** @param {any} message */
  #answer(message) {
    const { ms, number, ...seen } = plain(message);
    const waiting = this.#pending.get(number);
    if (!waiting) return;
    this.#pending.delete(number);
    this.roundTrip = averaged(this.roundTrip, performance.now() - waiting.sent);
    this.#serverTime = averaged(this.#serverTime, ms.all ?? ms.detect + ms.track + ms.classify);
    waiting.resolve(seen);
  }

  /** @param {any} message */
  #fail({ number, code, detail }) {
    const error = new EngineError("unreadable", detail, { code });
    const waiting = this.#pending.get(number);
    this.#pending.delete(number);
    if (waiting) waiting.reject(error);
    else this.#problem(error);
  }

  /** @param {CloseEvent} event */
  async #lose(event) {
    const was = this.state;
    this.#socket = null;
    this.#drop(new EngineError("gone"));
    let state = CLOSES[event.code] ?? "lost";
    let error = state === "refused" && this.#refusal || new EngineError("refused", event.reason);
    if (was === "connecting" && event.code === 1006) {
      try {
        await this.#reachable();
      } catch (found) {
        if (!(found instanceof EngineError)) throw found;
        state = found.kind === "token" || found.kind === "busy" ? found.kind : "lost";
        error = found;
      }
      if (this.state !== "connecting" || this.#socket) return; // closed, or opened again, meanwhile
    }
    this.#move(state, error);
    if (state !== "lost" && state !== "busy") return;
    const seconds = Math.min(MAX_WAIT, 0.25 * 2 ** this.#failures++) * (0.8 + 0.4 * Math.random());
    this.#timer = setTimeout(() => this.#connect(), 1000 * seconds);
  }

  /** @param {EngineError} error */
  #drop(error) {
    for (const waiting of [...this.#pending.values(), ...this.#asking]) waiting.reject(error);
    this.#pending.clear();
    this.#asking = [];
    this.roundTrip = this.#serverTime = 0;
  }

  /** @param {import("./engine.js").SessionState} state @param {?EngineError} [error] */
  #move(state, error = null) {
    if (this.state === "closed") return;
    this.state = state;
    this.#onstate(this, error);
  }

  /** Tell of settings that are not taken; those of a start end the session. @param {EngineError} error */
  #problem(error) {
    this.#refusal = error;
    if (this.state === "ready") this.#onstate(this, error);
  }

  /** @param {ImageBitmap} bitmap */
  async #encode(bitmap) {
    const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = this.#canvas;
    canvas.width = Math.max(1, Math.round(scale * bitmap.width));
    canvas.height = Math.max(1, Math.round(scale * bitmap.height));
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    return canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
  }
}

/** @param {number} average @param {number} value  in ms */
const averaged = (average, value) => (average ? KEPT * average + (1 - KEPT) * value : value);

/** Return a message without its type. @param {any} message */
function plain({ type, ...rest }) {
  return rest;
}
