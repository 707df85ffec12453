/** A video element's frames through a session, and what was seen onto the page: for cameras and for played videos. */

import { drawCourse, showShares } from "./charts.js";
import { byId } from "./dom.js";
import { Recorder } from "./downloads.js";
import { EngineError, problemOf } from "./engine.js";
import { History } from "./history.js";
import { announceSeen, notify, withdraw } from "./notice.js";
import { settings } from "./settings.js";
import { labelName, say } from "./words.js";

const CHARTS_MS = 120; // between two drawings of course and shares
const LOADING_MS = 1500; // until it is said that a session takes long to open
const KEPT = 0.9; // weight of the past in the average time between two answers
const SLOW_MS = 1000; // between two answers, above which each frame's faces are new ones, as to the tracker
const SLOW_ANSWERS = 5; // in a row, before that is said
const STATE_WORDS = /** @type {const} */ ({ lost: "serverGone", busy: "serverBusy", refused: "sessionRefused", failed: "engineFailed" });

/** @typedef {import("./engine.js").Session} Session */

export class Live {
  recorder = new Recorder();
  history = new History([]);
  /** The last statistics of the engine. @type {?object} */
  statistics = null;
  paused = false;

  /** @type {?Session} */ #session = null;
  #watching = 0; // counts starts, so that callbacks of an older one end
  #origin = ""; // model, label set and detector of the history
  #between = 0; // ms between two answers, averaged
  #seenTime = 0;
  #slow = 0; // answers in a row
  #chartsTime = 0;
  #chartsTimer = 0;
  #copying = false; // a frame, which the session does not know of yet
  /** Time of the frame that the element shows, where it was left out: it is seen once there is room. @type {?number} */ #missed = null;

  /**
   * @param {HTMLVideoElement} video
   * @param {import("./view.js").View} view
   * @param {() => import("./engine.js").Engine} engine
   * @param {() => import("./engine.js").Settings} chosen
   * @param {{ontoken: () => void, onchange: () => void}} calls  where the engine wants a token; at the first frame
   */
  constructor(video, view, engine, chosen, { ontoken, onchange }) {
    this.video = video;
    this.view = view;
    this.engine = engine;
    this.chosen = chosen;
    this.ontoken = ontoken;
    this.onchange = onchange;
    this.source = "";
  }

  get running() {
    return this.#session !== null;
  }

  /** Begin with the frames of the element. @param {string} source  name in the records */
  start(source) {
    this.stop();
    this.source = source;
    this.recorder = new Recorder();
    this.history = new History([]);
    this.#origin = "";
    this.statistics = null;
    this.paused = false;
    this.#between = this.#seenTime = 0;
    this.reopen();
    this.#watch(++this.#watching);
  }

  /** Open the session anew: another engine, or a token. */
  reopen() {
    this.#session?.close();
    this.#session = this.engine().open(this.chosen(), (session, error) => this.#moved(session, error));
    const session = this.#session;
    setTimeout(() => session === this.#session && session.state === "connecting" && notify("loading"), LOADING_MS);
  }

  /** End the session, and keep what was seen. */
  async stop() {
    const session = this.#session;
    if (!session) return;
    this.#watching += 1;
    this.#session = null;
    withdraw("loading", "slowStream", ...Object.values(STATE_WORDS), "settingRefused", "frameRefused");
    byId("speed").hidden = true;
    await this.#ask(session);
    session.close();
  }

  /** @param {boolean} paused */
  pause(paused) {
    this.paused = paused;
    this.#seenTime = 0;
    if (paused && this.#session) this.#ask(this.#session);
    byId("speed").hidden = true;
  }

  /** Use other settings from the next frame on. */
  change() {
    this.#session?.change(this.chosen());
  }

  /** Return statistics so far as mien writes them, or null before there are any. */
  async askStatistics() {
    if (this.#session) await this.#ask(this.#session);
    return this.statistics;
  }

  /** Draw course and shares. */
  drawCharts() {
    this.#chartsTime = performance.now();
    const { history, view } = this;
    const face = view.picked === null ? null : view.face;
    const track = face && face.track;
    const course = settings.whole_course ? history.whole(track) : history.recent(track);
    drawCourse(byId("course"), history.labels, course, view.look.colours);
    byId("course-which").textContent = track === null ? say("courseOfAll") : say("courseOfFace", { number: track });
    const shares = history.shares();
    byId("course").setAttribute("aria-label", say("courseLabel", { label: shares[0] ? labelName(shares[0][0]) : "–" }));
    showShares(byId("strip"), byId("shares"), shares, view.look);
    byId("shares-of").textContent = history.frames
      ? say("streamSoFar", { frames: history.frames, seconds: Math.round(history.seconds), faces: history.tracks.size })
      : "";
  }

  /** @param {Session} session */
  async #ask(session) {
    try {
      this.statistics = await Promise.race([session.statistics(), later(1000)]) ?? this.statistics;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error; // else the last ones are kept
    }
  }

  /** @param {Session} session @param {?EngineError} error */
  #moved(session, error) {
    if (session !== this.#session && this.#session) return;
    const { state, ready } = session;
    if (state === "ready" && ready) {
      withdraw("loading", "serverGone", "serverBusy", "sessionRefused", "engineFailed");
      this.#seenTime = 0;
      this.view.paint(ready.colours ?? this.view.look.colours);
      const origin = [ready.model, ready.label_set, ready.detector].join("\n");
      if (origin !== this.#origin) this.history = new History(ready.labels); // as the engine begins new statistics
      this.#origin = origin;
      if (error) notify("settingRefused", problemOf(error));
    } else if (state === "token") this.ontoken();
    else if (state in STATE_WORDS) notify(STATE_WORDS[/** @type {keyof STATE_WORDS} */ (state)], error ? problemOf(error) : {});
  }

  /** Take frames as the element shows them. @param {number} watching */
  #watch(watching) {
    const { video } = this;
    const take = (/** @type {number} */ _, /** @type {any} */ metadata) => {
      if (watching !== this.#watching) return;
      this.#watch(watching);
      if (!this.paused) this.#take(metadata.mediaTime);
    };
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(take);
    else requestAnimationFrame((now) => take(now, { mediaTime: /** @type {any} */ (video).currentTime }));
  }

  /** @param {number} time  of the frame that the element shows, in seconds */
  async #take(time) {
    const session = this.#session, watching = this.#watching;
    if (!session || !this.video.videoWidth) return;
    if (session.state !== "ready" && session.state !== "asleep") {
      this.#showUnseen(watching);
      return;
    }
    this.#missed = session.free && !this.#copying ? null : time;
    if (this.#missed !== null) return;
    let bitmap = null;
    try {
      this.#copying = true;
      bitmap = await createImageBitmap(this.video).finally(() => (this.#copying = false));
      const seen = { ...(await session.see(bitmap, time)), source: this.source };
      if (watching === this.#watching) this.#show(bitmap, seen);
      else bitmap.close();
    } catch (error) {
      bitmap?.close();
      if (error instanceof DOMException) return; // the element has no frame now
      if (!(error instanceof EngineError)) throw error;
      if (error.kind !== "gone" && session.state === "ready") notify("frameRefused", problemOf(error));
    }
    if (this.#missed !== null && !this.paused && watching === this.#watching) this.#take(this.#missed);
  }

  /** Show the camera without boxes while nobody recognises. @param {number} watching */
  async #showUnseen(watching) {
    const bitmap = await createImageBitmap(this.video);
    if (watching === this.#watching) this.view.show(bitmap, null);
    else bitmap.close();
  }

  /** @param {ImageBitmap} bitmap @param {import("./engine.js").Seen} seen */
  #show(bitmap, seen) {
    this.recorder.add(seen);
    this.history.add(seen);
    this.view.show(bitmap, seen);
    if (this.recorder.length === 1) this.onchange();
    this.#showSpeed();
    this.#drawSoon();
    const labels = seen.faces.map((face) => labelName(face.label)).join(", ");
    announceSeen(say("seen", { n: seen.faces.length, labels }));
  }

  /** Draw the charts now, or after a moment if they just were. */
  #drawSoon() {
    clearTimeout(this.#chartsTimer);
    const wait = this.#chartsTime + CHARTS_MS - performance.now(), watching = this.#watching;
    if (wait <= 0) this.drawCharts();
    else this.#chartsTimer = setTimeout(() => watching === this.#watching && this.drawCharts(), wait);
  }

  #showSpeed() {
    const now = performance.now(), between = now - this.#seenTime;
    if (this.#seenTime) this.#between = this.#between ? KEPT * this.#between + (1 - KEPT) * between : between;
    this.#slow = this.#seenTime && between > SLOW_MS ? this.#slow + 1 : 0;
    this.#seenTime = now;
    if (this.#slow === SLOW_ANSWERS) notify("slowStream"); // once, since the user may dismiss it
    if (!this.#slow) withdraw("slowStream");
    const ms = Math.round(this.#session?.roundTrip ?? 0);
    byId("speed").hidden = this.paused || !this.#between;
    byId("speed").textContent = say("speed", { fps: Math.round(1000 / this.#between), ms });
  }
}

/** @param {number} ms @returns {Promise<null>} */
const later = (ms) => new Promise((done) => setTimeout(() => done(null), ms));
