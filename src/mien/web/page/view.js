/** Shows what was seen: the picture on the stage, one face in bars, all faces in a table. */

import { showBars, swatch } from "./charts.js";
import { byId, element, write } from "./dom.js";
import { areaOf, Stage } from "./stage.js";
import { detectorName, fixed, labelName, say } from "./words.js";

/** @typedef {import("./engine.js").Seen} Seen @typedef {import("./engine.js").Face} Face */

const TABLE_MS = 200; // between two changes of the table, which is for reading
const THUMBNAIL_MARGIN = 0.15; // around the face, relative to its box

export class View {
  stage = new Stage(byId("canvas"));
  look = { /** @type {Record<string, string>} */ colours: {}, name: labelName };
  /** What is shown. @type {{picture: import("./stage.js").Picture, seen: ?Seen} | null} */
  current = null;
  /** Number of the picked face: its track, or its place on stills; null for the largest. @type {?number} */
  picked = null;

  #tableTime = 0;
  #tableTimer = 0;

  constructor() {
    this.stage.look = this.look;
    this.stage.onpick = (face) => this.pick(face);
    byId("largest").onclick = () => this.pick(null);
  }

  /** Use the colours of a label set. @param {Record<string, string>} colours */
  paint(colours) {
    Object.assign(this.look, { colours });
    this.#refresh();
  }

  /**
   * Show a picture and what was seen in it; an ImageBitmap becomes the view's.
   *
   * @param {import("./stage.js").Picture} picture
   * @param {?Seen} seen
   */
  show(picture, seen) {
    this.current = { picture, seen };
    this.#refresh();
  }

  clear() {
    this.current = null;
    this.picked = null;
    this.explain("");
    this.stage.show(null, null, null);
    this.#showFace(null);
    this.#showDetector();
    this.#fillTable();
  }

  /** Say what is the matter with the picture: on it, or in its place. @param {string} text  empty for nothing */
  explain(text) {
    const problem = byId("problem");
    problem.hidden = !text;
    problem.classList.toggle("alone", !this.current);
    write(problem, text);
  }

  /** Follow a face; null for the largest one. @param {?Face} face */
  pick(face) {
    this.picked = face && numberOf(face);
    this.#refresh();
  }

  /** Write all again, in another language. */
  rewrite() {
    byId("faces").replaceChildren();
    this.#refresh();
  }

  /** Return the face that is shown in bars: the picked one, else the largest. @returns {?Face} */
  get face() {
    const faces = this.current?.seen?.faces ?? [];
    const picked = faces.find((face) => numberOf(face) === this.picked);
    return picked ?? [...faces].sort((a, b) => areaOf(b) - areaOf(a))[0] ?? null;
  }

  #refresh() {
    if (!this.current) {
      this.#showFace(null);
      return;
    }
    const { face } = this;
    const isPicked = face !== null && numberOf(face) === this.picked;
    this.stage.show(this.current.picture, this.current.seen, isPicked ? face : null);
    this.#showFace(face);
    this.#showDetector();
    const wait = this.#tableTime + TABLE_MS - performance.now();
    clearTimeout(this.#tableTimer);
    if (wait <= 0) this.#fillTable();
    else this.#tableTimer = setTimeout(() => this.#fillTable(), wait);
  }

  /** @param {?Face} face */
  #showFace(face) {
    const picked = face !== null && numberOf(face) === this.picked;
    byId("largest").hidden = !picked;
    byId("face-which").textContent = face ? `${numberOf(face)} · ${say(picked ? "chosen" : "largest")}` : "";
    byId("face-label").textContent = face ? labelName(face.label) : say("noFace");
    byId("face-confidence").textContent = face ? `${Math.round(100 * face.confidence)} %` : "";
    byId("face-picture").hidden = !face;
    byId("bars").classList.toggle("idle", !face);
    showBars(byId("bars"), face ? face.probabilities : this.#nothing(), this.look);
    if (!face || !this.current) return;
    drawThumbnail(byId("face-picture"), this.current.picture, /** @type {Seen} */ (this.current.seen), face, this.stage.mirrored);
  }

  #showDetector() {
    const name = this.current?.seen?.detector;
    write(byId("detector-used"), name ? say("detectorUsed", { name: detectorName(name) }) : "");
  }

  /** Return no probability for each label that can be seen. @returns {Record<string, number>} */
  #nothing() {
    const labels = Object.keys(this.look.colours).filter((label) => label !== "uncertain");
    return Object.fromEntries(labels.map((label) => [label, 0]));
  }

  #fillTable() {
    this.#tableTime = performance.now();
    const faces = this.current?.seen?.faces ?? [];
    const table = byId("faces");
    byId("faces-card").hidden = !faces.length;
    while (table.children.length > faces.length) table.lastChild.remove();
    faces.forEach((face, place) => {
      const row = table.children[place] ?? table.appendChild(this.#row());
      const [number, label, confidence, score, box] = row.children;
      row.classList.toggle("picked", numberOf(face) === this.picked);
      row.face = face;
      write(number.firstChild, String(numberOf(face)));
      number.firstChild.setAttribute("aria-label", say("showFace", { number: numberOf(face) }));
      number.firstChild.setAttribute("aria-pressed", String(numberOf(face) === this.picked));
      label.firstChild.style.backgroundColor = swatch(face.label, this.look).style.backgroundColor;
      write(label.lastChild, labelName(face.label));
      write(confidence, `${Math.round(100 * face.confidence)} %`);
      write(score, fixed(face.score, 2));
      write(box, face.box.map(Math.round).join(", "));
    });
  }

  #row() {
    const row = element("tr", {},
      element("td", {}, element("button", { type: "button" })),
      element("td", {}, swatch("", this.look), element("span")),
      element("td", { className: "figures" }), element("td", { className: "figures" }),
      element("td", { className: "figures" }));
    /** @type {any} */ (row).onclick = () => this.pick(numberOf(/** @type {any} */ (row).face) === this.picked ? null :
      /** @type {any} */ (row).face);
    return row;
  }
}

/** Return the number of a face that the user sees. @param {Face} face */
export const numberOf = (face) => face.track ?? face.face;

/**
 * @param {HTMLCanvasElement} canvas @param {any} picture @param {Seen} seen @param {Face} face @param {boolean} mirrored
 */
function drawThumbnail(canvas, picture, seen, { box: [x1, y1, x2, y2] }, mirrored) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const wide = picture.videoWidth || picture.naturalWidth || picture.width;
  const scale = wide / seen.width;
  const side = scale * Math.max(x2 - x1, y2 - y1) * (1 + 2 * THUMBNAIL_MARGIN);
  const left = (scale * (x1 + x2) - side) / 2, top = (scale * (y1 + y2) - side) / 2;
  context.setTransform(mirrored ? -1 : 1, 0, 0, 1, mirrored ? canvas.width : 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, left, top, side, side, 0, 0, canvas.width, canvas.height);
}
