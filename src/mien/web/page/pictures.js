/** Pictures: dropped, pasted or chosen; recognised a few at a time, shown in a gallery and large. */

import { showShares, swatch } from "./charts.js";
import { byId, element, pause } from "./dom.js";
import { Recorder } from "./downloads.js";
import { EngineError, problemOf } from "./engine.js";
import { announce, notify, withdraw } from "./notice.js";
import { settings } from "./settings.js";
import { detailIn, labelName, say } from "./words.js";

const AT_ONCE = 2; // requests
const THUMBNAIL = 264; // pixels of the longer side: 132 on a screen of double resolution
const UNCERTAIN = "uncertain";

/**
 * @typedef {object} Item
 * @property {File} file
 * @property {string} name  with its folders
 * @property {HTMLButtonElement} button
 * @property {"waiting" | "done" | "failed"} state
 * @property {?import("./engine.js").Seen} seen
 * @property {import("./engine.js").Problem[]} warnings
 * @property {?import("./engine.js").Problem} error
 */

export class Pictures {
  name = "pictures";
  /** @type {Item[]} */ items = [];
  /** @type {?Item} */ chosen = null;

  /** @type {Item[]} */ #queue = [];
  /** @type {Set<Item>} */ #underWay = new Set();
  #round = 0; // counts changes of the model, so that older answers are left
  #held = false; // until there is a token
  #entered = false; // whether the page shows pictures, rather than a camera or video

  /**
   * @param {import("./view.js").View} view
   * @param {() => import("./engine.js").Engine} engine
   * @param {() => import("./engine.js").Settings} chosen
   * @param {() => number} largest  bytes of a picture
   * @param {{ontoken: () => void, onchange: () => void}} calls
   */
  constructor(view, engine, chosen, largest, { ontoken, onchange }) {
    this.view = view;
    this.engine = engine;
    this.settingsOf = chosen;
    this.largest = largest;
    this.ontoken = ontoken;
    this.onchange = onchange;
    for (const id of ["choose-pictures", "empty-pictures"]) byId(id).onclick = () => byId("picture-files").click();
    byId("choose-folder").onclick = () => byId("picture-folder").click();
    for (const id of ["example", "empty-example"]) byId(id).onclick = () => this.addExample();
    byId("clear").onclick = () => this.clear();
  }

  get running() {
    return this.items.length > 0;
  }

  enter() {
    this.#entered = true;
    this.view.stage.mirrored = false;
    if (this.chosen) this.choose(this.chosen);
    this.#showShares();
  }

  /** Leave the page to another mode; recognition goes on. */
  leave() {
    this.#entered = false;
    withdraw("warned");
  }

  stop() {
    this.#queue = [];
  }

  pause() {}

  async addExample() {
    const answer = await fetch("example.jpg");
    this.add([new File([await answer.blob()], "astronaut.jpg", { type: "image/jpeg" })]);
  }

  /** Recognise more pictures. @param {File[]} files */
  add(files) {
    const added = files.map((file) => {
      const name = file.webkitRelativePath || file.name;
      const button = /** @type {HTMLButtonElement} */ (element("button", { type: "button", className: "waiting" },
        element("span", { className: "blank" }), element("span", { className: "found" }), element("span", { className: "file" }, name)));
      const item = /** @type {Item} */ ({ file, name, button, state: "waiting", seen: null, warnings: [], error: null });
      button.onclick = () => this.choose(item);
      byId("gallery").append(element("li", {}, button));
      return item;
    });
    this.items.push(...added);
    this.#queue.push(...added);
    if (added.length) this.choose(added[0]);
    if (this.#entered) this.#showShares();
    this.#work();
  }

  /** Recognise all again, after a change of model, label set, detector or engine. */
  again() {
    this.#round += 1;
    this.#held = false;
    this.#queue = [...this.items];
    this.#work();
  }

  /** Apply another confidence threshold to what was seen. */
  relabel() {
    for (const item of this.items) if (item.seen) item.seen = relabelled(item.seen, settings.min_confidence);
    this.rewrite();
  }

  /** Write all texts again. */
  rewrite() {
    for (const item of this.items) this.#describe(item);
    if (!this.#entered) return;
    if (this.chosen && this.view.current) this.view.show(this.view.current.picture, this.chosen.seen);
    if (this.chosen) this.#explain(this.chosen);
    this.#showShares();
  }

  clear() {
    this.items = [];
    this.#queue = [];
    this.chosen = null;
    for (const image of byId("gallery").querySelectorAll("img")) URL.revokeObjectURL(image.src);
    byId("gallery").replaceChildren();
    this.view.clear();
    this.#showShares();
    this.onchange();
  }

  /** Show another picture large. @param {number} step  -1 or 1 */
  step(step) {
    const place = this.chosen ? this.items.indexOf(this.chosen) + step : 0;
    if (!this.items[place]) return;
    this.choose(this.items[place]);
    this.items[place].button.focus();
  }

  /** Show a picture large. @param {Item} item */
  async choose(item) {
    this.chosen = item;
    if (item.state === "waiting" && !this.#queue.includes(item) && !this.#underWay.has(item)) { // it was stopped
      this.#queue.unshift(item);
      this.#work();
    }
    for (const { button } of this.items) button.setAttribute("aria-current", String(button === item.button));
    this.onchange();
    const picture = await opened(item.file);
    if (this.chosen !== item || !this.#entered) return picture?.close();
    this.view.picked = null;
    if (picture) this.view.show(picture, item.seen);
    else this.view.clear();
    this.#tell(item);
    this.onchange();
  }

  recorder() {
    const recorder = new Recorder();
    for (const { seen } of this.items) if (seen) recorder.add(seen);
    return recorder;
  }

  async #work() {
    while (this.#underWay.size < AT_ONCE && this.#queue.length && !this.#held) {
      const item = /** @type {Item} */ (this.#queue.shift());
      this.#underWay.add(item);
      this.#recognise(item, this.#round).finally(() => {
        this.#underWay.delete(item);
        this.#work();
      });
    }
  }

  /** @param {Item} item @param {number} round */
  async #recognise(item, round) {
    if (!item.button.querySelector("img")) await showThumbnail(item);
    const answer = await this.#ask(item, round);
    if (!answer || round !== this.#round || !this.items.includes(item)) return;
    Object.assign(item, answer);
    this.#describe(item);
    if (!this.#entered) return;
    if (item === this.chosen) {
      if (this.view.current) this.view.show(this.view.current.picture, item.seen);
      this.#tell(item);
      this.onchange();
    }
    this.#showShares();
    if (this.items.every(({ state }) => state !== "waiting")) announce(this.#summary());
  }

  /**
   * Ask until there is an answer, however busy the server is.
   *
   * @param {Item} item @param {number} round @returns {Promise<?Pick<Item, "state" | "seen" | "warnings" | "error">>}
   */
  async #ask(item, round) {
    const largest = this.largest();
    if (item.file.size > largest) {
      return failed({ detail: say("large", { mb: Math.floor(largest / 1e6) }), code: null });
    }
    for (let wait = 0.5; round === this.#round && this.items.includes(item); wait = Math.min(2 * wait, 10)) {
      try {
        const { seen, warnings } = await this.engine().predict(item.file, item.name, this.settingsOf());
        withdraw("serverGone", "requestBusy");
        return { state: "done", seen: relabelled(seen, settings.min_confidence), warnings: warnings ?? [], error: null };
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        if (error.kind === "token") {
          this.#held = true;
          this.#queue.unshift(item);
          this.ontoken();
          return null;
        }
        if (error.kind !== "busy" && error.kind !== "gone") return failed(problemOf(error));
        notify(error.kind === "busy" ? "requestBusy" : "serverGone");
        await pause(error.kind === "busy" ? error.seconds : wait);
      }
    }
    return null;
  }

  /** Say what is the matter with the picture in the large view. @param {Item} item */
  #tell(item) {
    this.#explain(item);
    if (item.warnings.length) notify("warned", { warnings: item.warnings });
    else withdraw("warned");
  }

  /** @param {Item} item */
  #explain({ error, seen }) {
    const isDark = seen?.note.endsWith("nearly black");
    if (error) this.view.explain(say("unreadable", { detail: detailIn(error) }));
    else if (seen && !seen.faces.length) this.view.explain(say(isDark ? "noFaceInTheDark" : "noFaceFound"));
    else this.view.explain(seen && !this.view.current ? say("noPreview") : "");
  }

  /** @param {Item} item */
  #describe({ button, name, state, seen, error }) {
    button.classList.toggle("waiting", state === "waiting");
    const found = /** @type {HTMLElement} */ (button.querySelector(".found"));
    found.classList.toggle("wrong", state === "failed");
    if (state === "waiting") found.replaceChildren();
    else if (error !== null) found.replaceChildren(detailIn(error));
    else if (!seen?.faces.length) found.replaceChildren(say("nFaces", { n: 0 }));
    else {
      found.replaceChildren(...countsOf(seen.faces).map(([label, n]) =>
        element("span", {}, swatch(label, this.view.look), n === 1 ? labelName(label) : `${n} ${labelName(label)}`)));
    }
    button.title = name;
    const texts = [...found.childNodes].map(({ textContent }) => textContent);
    button.setAttribute("aria-label", texts.length ? `${name}: ${texts.join(", ")}` : name);
  }

  #showShares() {
    const faces = this.items.flatMap(({ seen }) => seen?.faces ?? []);
    const shares = countsOf(faces).map(([label, n]) => /** @type {[string, number]} */ ([label, n / faces.length]));
    showShares(byId("strip"), byId("shares"), shares, this.view.look);
    const done = this.items.filter(({ state }) => state !== "waiting").length;
    byId("shares-of").textContent = done ? this.#summary() : "";
    byId("clear").hidden = !this.items.length;
    byId("pictures-done").textContent = done < this.items.length ? say("progressOfPictures", { done, all: this.items.length }) : "";
  }

  #summary() {
    const done = this.items.filter(({ state }) => state !== "waiting");
    const faces = done.reduce((sum, { seen }) => sum + (seen?.faces.length ?? 0), 0);
    return say("picturesDone", { pictures: done.length, faces, failed: done.filter(({ error }) => error !== null).length });
  }
}

/** @param {import("./engine.js").Problem} error @returns {Pick<Item, "state" | "seen" | "warnings" | "error">} */
const failed = (error) => ({ state: "failed", seen: null, warnings: [], error });

/** Return how often each label occurs, the most frequent first. @param {import("./engine.js").Face[]} faces */
function countsOf(faces) {
  const counts = new Map();
  for (const { label } of faces) counts.set(label, (counts.get(label) ?? 0) + 1);
  return /** @type {[string, number][]} */ ([...counts].sort((a, b) => b[1] - a[1]));
}

/** Return what was seen with another threshold. @param {import("./engine.js").Seen} seen @param {number} least */
function relabelled(seen, least) {
  const faces = seen.faces.map((face) => {
    const [label, confidence] = Object.entries(face.probabilities).reduce((a, b) => (b[1] > a[1] ? b : a));
    const certain = confidence >= least;
    return { ...face, certain, label: certain ? label : UNCERTAIN };
  });
  return { ...seen, faces };
}

/** Return a picture, upright; null where the browser cannot decode it. @param {Blob} file */
async function opened(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    return null;
  }
}

/** @param {Item} item */
async function showThumbnail({ file, button }) {
  const picture = await opened(file);
  if (!picture) return;
  const scale = Math.min(1, THUMBNAIL / Math.max(picture.width, picture.height));
  const canvas = new OffscreenCanvas(Math.ceil(scale * picture.width), Math.ceil(scale * picture.height));
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  const src = URL.createObjectURL(await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 }));
  /** @type {HTMLElement} */ (button.firstChild).replaceWith(element("img", { src, alt: "" }));
}
