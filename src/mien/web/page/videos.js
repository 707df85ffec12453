/** Video files: played with their expressions, and recognised frame by frame on the server. */

import { clock } from "./charts.js";
import { byId, calm, pause } from "./dom.js";
import { save } from "./downloads.js";
import { EngineError, problemOf } from "./engine.js";
import { notify, withdraw } from "./notice.js";
import { detailIn, say } from "./words.js";

const POLL_SECONDS = 0.7;

export class Videos {
  name = "videos";
  /** @type {?File} */ file = null;
  /** @type {?import("./engine.js").Job} */ #job = null;
  /** @type {?AbortController} */ #aborting = null;
  #text = { key: /** @type {any} */ ("wholeVideoText"), values: /** @type {any} */ ({}) };

  /**
   * @param {import("./live.js").Live} live
   * @param {() => import("./engine.js").Engine} engine
   * @param {() => import("./engine.js").Settings} chosen
   * @param {{ontoken: () => void, onchange: () => void}} calls
   */
  constructor(live, engine, chosen, { ontoken, onchange }) {
    this.live = live;
    this.engine = engine;
    this.settingsOf = chosen;
    this.ontoken = ontoken;
    this.onchange = onchange;
    const { video } = live;
    for (const id of ["choose-video", "empty-video"]) byId(id).onclick = () => byId("video-file").click();
    byId("play").onclick = () => this.pause();
    byId("position").oninput = () => (video.currentTime = Number(byId("position").value));
    byId("job-start").onclick = () => this.#recognise();
    byId("job-cancel").onclick = () => this.#aborting?.abort();
    byId("job-remove").onclick = () => this.#remove();
    for (const button of byId("job-files").querySelectorAll("[data-file]")) {
      button.onclick = () => this.#download(button.dataset.file);
    }
    for (const event of ["play", "pause", "timeupdate", "loadedmetadata", "ended"]) {
      video.addEventListener(event, () => this.rewrite());
    }
    video.addEventListener("error", () => this.file && notify("notPlayable"));
  }

  get running() {
    return this.file !== null;
  }

  enter() {
    this.live.view.stage.mirrored = false;
    if (this.file && this.live.video.src) this.#play();
    this.rewrite();
  }

  async leave() {
    this.live.video.pause();
    await this.live.stop();
  }

  /** Open a video and play it. @param {File} file */
  open(file) {
    this.#close();
    withdraw("notPlayable");
    this.file = file;
    this.live.video.src = URL.createObjectURL(file);
    this.#play();
    this.rewrite();
  }

  stop() {
    this.live.video.pause();
    this.live.stop();
  }

  /** Play or pause; what is paused can be moved through. */
  pause() {
    const { video } = this.live;
    if (!this.file) return;
    if (!this.live.running || video.ended) this.live.start(this.file.name); // another run counts anew
    if (video.paused) video.play().catch(() => {}); // an error event says why
    else video.pause();
  }

  /** Write buttons, position and texts. */
  rewrite() {
    const { video } = this.live;
    const isPlayable = this.file !== null && video.duration > 0;
    const isFinite = Number.isFinite(video.duration); // a browser's own recording doesn't know its end
    byId("play").hidden = !isPlayable;
    byId("position").hidden = !isPlayable || !isFinite;
    byId("play").textContent = say(video.paused ? "play" : "pause");
    if (isPlayable && isFinite) {
      byId("position").max = String(video.duration);
      byId("position").value = String(video.currentTime);
      byId("position").setAttribute("aria-valuetext", clock(video.currentTime));
    }
    const end = isFinite ? ` / ${clock(video.duration)}` : "";
    byId("clock").textContent = isPlayable ? `${clock(video.currentTime)}${end}` : "";
    const offersJob = this.file !== null && this.engine()?.videos;
    byId("job").classList.toggle("none", !offersJob);
    this.#writeText();
    this.onchange();
  }

  #play() {
    this.live.start(/** @type {File} */ (this.file).name);
    if (calm()) this.live.video.currentTime = 0;
    else this.live.video.play().catch(() => {}); // an error event says why
  }

  #close() {
    this.#aborting?.abort();
    if (this.#job) this.#remove();
    this.#write("wholeVideoText");
    this.#showJob("none");
    if (this.live.video.src) URL.revokeObjectURL(this.live.video.src);
  }

  async #recognise() {
    const { videos } = this.engine();
    const { file } = this;
    if (!videos || !file) return;
    const aborting = (this.#aborting = new AbortController());
    let id = ""; // of the job, once there is one
    this.#showJob("running");
    try {
      const progress = (/** @type {number} */ share) => this.#progress("uploading", share, { percent: Math.round(100 * share) });
      progress(0);
      let job = await videos.submit(file, this.settingsOf(), progress, aborting.signal);
      id = job.id;
      while (job.state === "queued" || job.state === "running") {
        this.#progress(job.state, job.frames ? job.done / job.frames : 0, job);
        await pause(POLL_SECONDS);
        aborting.signal.throwIfAborted();
        job = await again(() => videos.job(id));
      }
      this.#job = job;
      this.#write(job.state === "done" ? "jobDone" : "jobFailed", { ...job, detail: job.error });
      this.#showJob(job.state === "done" ? "done" : "none");
    } catch (error) {
      if (id) videos.remove(id).catch(() => {}); // it may be gone already
      if (this.#aborting !== aborting) return;
      this.#showJob("none");
      this.#failed(error);
    }
  }

  /** @param {unknown} error */
  #failed(error) {
    if (/** @type {any} */ (error).name === "AbortError") return this.#write("wholeVideoText");
    if (!(error instanceof EngineError)) throw error;
    if (error.kind === "token") return this.ontoken();
    if (error.kind === "gone") this.#write("serverGone");
    else this.#write("jobFailed", problemOf(error));
  }

  /** @param {string} name */
  async #download(name) {
    const { videos } = this.engine();
    if (!videos || !this.#job || !this.file) return;
    const stem = this.file.name.replace(/\.[^.]*$/, "");
    if (name === "statistics.json") {
      return save(new Blob([JSON.stringify(this.#job.statistics, null, 1)]), `${stem}-statistics.json`);
    }
    try {
      save(await videos.file(this.#job.id, /** @type {any} */ (name)), `${stem}-${name}`);
    } catch (error) {
      this.#failed(error);
    }
  }

  async #remove() {
    const { videos } = this.engine(), job = this.#job;
    this.#job = null;
    this.#write("wholeVideoText");
    this.#showJob("none");
    if (videos && job) await videos.remove(job.id).catch((error) => this.#failed(error));
  }

  /** @param {any} key @param {number} share @param {object} values */
  #progress(key, share, values) {
    byId("job-progress").value = share;
    this.#write(key, values);
  }

  /** @param {any} key @param {object} [values] */
  #write(key, values = {}) {
    this.#text = { key, values };
    this.#writeText();
  }

  #writeText() {
    const { key, values } = this.#text;
    byId("job-text").textContent = say(key, { ...values, detail: detailIn(values) });
  }

  /** @param {"none" | "running" | "done"} state */
  #showJob(state) {
    byId("job-start").hidden = state !== "none";
    byId("job-progress").hidden = byId("job-cancel").hidden = state !== "running";
    byId("job-files").hidden = state !== "done";
  }
}

/** Return the result of a request, asked again while the server is busy or away for a moment. @param {() => Promise<any>} ask */
async function again(ask) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      const passes = error instanceof EngineError && (error.kind === "gone" || error.kind === "busy");
      if (!passes || tries === 10) throw error;
      await pause(POLL_SECONDS * (1 + tries));
    }
  }
}
