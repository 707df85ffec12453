/** The camera: consent, choice, start and stop, and words for all that may be in the way. */

import { byId, element } from "./dom.js";
import { announce, notify, withdraw } from "./notice.js";
import { set, settings } from "./settings.js";
import { say } from "./words.js";

const WANTED = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
const ERRORS = /** @type {Record<string, any>} */ ({
  NotAllowedError: "cameraRefused", SecurityError: "cameraRefused",
  NotFoundError: "cameraMissing", OverconstrainedError: "cameraMissing",
  NotReadableError: "cameraBusy", AbortError: "cameraBusy",
});
const HERE = { host: location.hostname, port: location.port || 80 };
const NOTICES = ["insecure", "cameraRefused", "cameraMissing", "cameraBusy", "cameraLost", "cameraOther"];

export class Camera {
  name = "camera";
  /** @type {?MediaStream} */ #stream = null;
  #turn = 0; // counts starts and stops

  /** @param {import("./live.js").Live} live @param {() => void} onchange  called when it starts or stops */
  constructor(live, onchange) {
    this.live = live;
    this.onchange = onchange;
    for (const id of ["start", "restart"]) byId(id).onclick = () => this.start();
    byId("stop").onclick = () => this.stop();
    byId("pause").onclick = () => this.pause();
    byId("cameras").onchange = () => this.#choose(byId("cameras").value);
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#stream && this.#list());
  }

  get running() {
    return this.#stream !== null;
  }

  /** Words for its shortcut; the camera begins at the user's wish only. */
  enter() {
    this.mirror();
    this.#showButtons();
    if (!navigator.mediaDevices) notify("insecure", HERE);
  }

  /** Show the camera as a mirror does, or as others see it. */
  mirror() {
    this.live.view.stage.mirrored = settings.mirrored;
    this.live.view.stage.draw();
  }

  async leave() {
    withdraw(...NOTICES);
    await this.stop();
  }

  async start() {
    if (!navigator.mediaDevices) return notify("insecure", HERE);
    const turn = (this.#turn += 1);
    try {
      const stream = await this.#open();
      if (turn !== this.#turn) return stop(stream); // the user went on while the browser asked
      this.#stream = stream;
      const [track] = this.#stream.getVideoTracks();
      track.onended = () => this.#lost();
      const { video } = this.live;
      video.srcObject = this.#stream;
      await video.play();
      if (turn !== this.#turn) return;
      withdraw(...NOTICES);
      await this.#list();
      if (turn !== this.#turn) return;
      this.live.start(track.label || say("camera"));
      announce(say("started"));
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#release();
      const { name, message } = /** @type {DOMException} */ (error);
      notify(ERRORS[name] ?? "cameraOther", { detail: message });
    }
    this.#showButtons();
  }

  /** Stop the camera; what was seen stays, for saving. */
  async stop() {
    this.#turn += 1;
    if (!this.#stream) return;
    this.#release();
    await this.live.stop();
    this.#showButtons();
    announce(say("stopped"));
  }

  pause() {
    if (!this.#stream) return;
    this.live.pause(!this.live.paused);
    announce(say(this.live.paused ? "paused" : "started"));
    this.#showButtons();
  }

  /** Write the buttons in the language of the page. */
  rewrite() {
    this.#showButtons();
  }

  async #open() {
    const by = settings.camera ? { deviceId: { exact: settings.camera } } : { facingMode: "user" };
    try {
      return await navigator.mediaDevices.getUserMedia({ video: { ...WANTED, ...by } });
    } catch (error) {
      if (!settings.camera || /** @type {DOMException} */ (error).name !== "OverconstrainedError") throw error;
      set("camera", null); // the chosen one is gone
      return navigator.mediaDevices.getUserMedia({ video: WANTED });
    }
  }

  /** List the cameras; browsers name them once one was allowed. */
  async #list() {
    const devices = (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "videoinput");
    const used = this.#stream?.getVideoTracks()[0]?.getSettings().deviceId;
    byId("cameras").replaceChildren(...devices.map(({ deviceId, label }, place) =>
      element("option", { value: deviceId, selected: deviceId === used },
        label || say("unnamedCamera", { number: place + 1 }))));
    byId("cameras-field").hidden = devices.length < 2;
  }

  /** @param {string} device */
  async #choose(device) {
    set("camera", device);
    await this.stop();
    await this.start();
  }

  async #lost() {
    await this.stop();
    notify("cameraLost");
  }

  #release() {
    if (this.#stream) stop(this.#stream);
    this.#stream = null;
    this.live.video.srcObject = null;
  }

  #showButtons() {
    const { running } = this;
    byId("stop").hidden = byId("pause").hidden = !running;
    byId("restart").hidden = running || !this.live.view.current;
    byId("pause").textContent = say(running && this.live.paused ? "resume" : "pause");
    this.onchange();
    if (document.activeElement === document.body) byId(running ? "pause" : "restart").focus({ preventScroll: true });
  }
}

/** @param {MediaStream} stream */
function stop(stream) {
  for (const track of stream.getTracks()) {
    track.onended = null;
    track.stop();
  }
}
