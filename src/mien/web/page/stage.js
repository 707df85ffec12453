/** The large canvas: a picture, as large as there is room, and the faces on it, sharp on any screen. */

import { drawFaces } from "./draw.js";

/** @typedef {ImageBitmap | HTMLImageElement | HTMLVideoElement | OffscreenCanvas} Picture */

export class Stage {
  mirrored = false;
  /** Called with the face that is clicked, or null. @type {(face: ?import("./engine.js").Face) => void} */
  onpick = () => {};
  /** @type {Omit<import("./draw.js").Look, "unit">} */
  look = { colours: {}, name: (label) => label };

  /** @type {?Picture} */ #picture = null;
  /** @type {?import("./engine.js").Seen} */ #seen = null;
  /** @type {?import("./engine.js").Face} */ #picked = null;
  #waiting = false;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("click", (event) => this.onpick(this.#faceAt(event.offsetX, event.offsetY)));
  }

  /**
   * Show a picture and what was seen in it.
   *
   * @param {?Picture} picture  an ImageBitmap becomes the stage's, which closes it
   * @param {?import("./engine.js").Seen} seen
   * @param {?import("./engine.js").Face} picked
   */
  show(picture, seen, picked) {
    if (this.#picture !== picture && this.#picture instanceof ImageBitmap) this.#picture.close();
    this.#picture = picture;
    this.#seen = seen;
    this.#picked = picked;
    this.draw();
  }

  /** Draw before the next frame of the screen. */
  draw() {
    if (this.#waiting) return;
    this.#waiting = true;
    requestAnimationFrame(() => {
      this.#waiting = false;
      this.#draw();
    });
  }

  #draw() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.clearRect(0, 0, width, height);
    const place = this.#place(width, height);
    if (!place || !this.#picture) return;
    context.save();
    if (this.mirrored) context.setTransform(-1, 0, 0, 1, width, 0);
    context.imageSmoothingQuality = place.shrinks ? "high" : "low"; // the latter is faster, and as good
    context.drawImage(this.#picture, place.x1, place.y1, place.x2 - place.x1, place.y2 - place.y1);
    context.restore();
    const faces = this.#seen?.faces ?? [];
    const boxes = faces.map((face) => this.#box(face, place));
    drawFaces(context, faces, boxes, place, { ...this.look, unit: ratio }, this.#picked);
  }

  /** Return where the picture is in the canvas, which it fills in one direction. @param {number} width @param {number} height */
  #place(width, height) {
    const picture = /** @type {any} */ (this.#picture);
    const wide = picture?.videoWidth || picture?.naturalWidth || picture?.width;
    const high = picture?.videoHeight || picture?.naturalHeight || picture?.height;
    if (!wide || !high) return null;
    const scale = Math.min(width / wide, height / high);
    const x1 = (width - scale * wide) / 2, y1 = (height - scale * high) / 2;
    return { x1, y1, x2: x1 + scale * wide, y2: y1 + scale * high, shrinks: scale < 1 };
  }

  /** @param {import("./engine.js").Face} face @param {import("./draw.js").Area} place */
  #box({ box }, place) {
    const { width, height } = /** @type {import("./engine.js").Seen} */ (this.#seen);
    const x = (place.x2 - place.x1) / width, y = (place.y2 - place.y1) / height;
    const [left, right] = this.mirrored ? [width - box[2], width - box[0]] : [box[0], box[2]];
    return { x1: place.x1 + x * left, y1: place.y1 + y * box[1], x2: place.x1 + x * right, y2: place.y1 + y * box[3] };
  }

  /** @param {number} x @param {number} y  in pixels of the page */
  #faceAt(x, y) {
    const place = this.#place(this.canvas.clientWidth, this.canvas.clientHeight);
    if (!place || !this.#seen) return null;
    const hit = this.#seen.faces.filter((face) => {
      const { x1, y1, x2, y2 } = this.#box(face, place);
      return x1 <= x && x <= x2 && y1 <= y && y <= y2;
    });
    return hit.sort((a, b) => areaOf(a) - areaOf(b))[0] ?? null;
  }
}

/** @param {import("./engine.js").Face} face */
export const areaOf = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
