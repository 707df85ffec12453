/** Draws boxes and label boxes of faces into a canvas; the same on the stage and in saved pictures. */

const EDGE = "rgba(0, 0, 0, 0.6)"; // around lines, so that they show on any ground
const OTHER = "#696969"; // of a label without a colour
const FACE_WEIGHT = 2, LABEL_BOX_WEIGHT = 4, OWN_WEIGHT = 1; // cost of a label box that is wholly over one
const SMALL_WEIGHT = 0.05; // cost of a label box without its percentage
const PADDING = 0.45; // of label boxes, in letters

/**
 * @typedef {object} Look
 * @property {Record<string, string>} colours  label → "#rrggbb"
 * @property {(label: string) => string} name  of a label, for the user
 * @property {number} unit  pixels of the canvas per pixel of a standard screen
 *
 * @typedef {{x1: number, y1: number, x2: number, y2: number}} Area
 * @typedef {Area & {text: string, letter: number, cost: number}} LabelBox
 */

/** @param {Look["colours"]} colours @param {string} label */
export const colourOf = (colours, label) => colours[label] ?? OTHER;

/** Return black or white, whichever has more contrast (WCAG 2.1) on a colour. @param {string} colour  "#rrggbb" */
export function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const value = parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) ? "#000000" : "#ffffff";
}

/**
 * Draw faces.
 *
 * @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context
 * @param {import("./engine.js").Face[]} faces
 * @param {Area[]} boxes  of the faces, in pixels of the canvas
 * @param {Area} limits  of the picture in the canvas; label boxes stay inside
 * @param {Look} look
 * @param {?import("./engine.js").Face} picked  drawn with a thicker line
 */
export function drawFaces(context, faces, boxes, limits, look, picked = null) {
  const { unit } = look;
  faces.forEach((face, place) => {
    const { x1, y1, x2, y2 } = boxes[place];
    const thin = Math.min(Math.max((y2 - y1) / 40, 1.5 * unit), 2.5 * unit);
    const line = face === picked ? 2 * thin : thin;
    const radius = Math.min(8 * unit, (x2 - x1) / 4, (y2 - y1) / 4);
    for (const [colour, width] of /** @type {[string, number][]} */ ([
      [EDGE, line + 2 * unit],
      [colourOf(look.colours, face.label), line],
    ])) {
      context.beginPath();
      context.roundRect(x1, y1, x2 - x1, y2 - y1, radius);
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
  });
  const labelBoxes = /** @type {LabelBox[]} */ ([]);
  faces.forEach((face, place) => labelBoxes.push(bestLabelBox(candidates(context, face, boxes[place], limits, look), boxes, place, labelBoxes)));
  labelBoxes.forEach((labelBox, place) => drawLabelBox(context, labelBox, colourOf(look.colours, faces[place].label), unit));
}

/** @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context @param {LabelBox} labelBox @param {string} colour @param {number} unit */
function drawLabelBox(context, { x1, y1, x2, y2, text, letter }, colour, unit) {
  context.beginPath();
  context.roundRect(x1, y1, x2 - x1, y2 - y1, 0.35 * letter);
  context.strokeStyle = EDGE;
  context.lineWidth = 2 * unit;
  context.stroke();
  context.fillStyle = colour;
  context.fill();
  context.fillStyle = inkOn(colour);
  context.font = font(letter);
  context.textBaseline = "middle";
  context.fillText(text, x1 + PADDING * letter, (y1 + y2) / 2 + 0.04 * letter);
}

/** @param {number} letter */
const font = (letter) => `600 ${letter}px system-ui, sans-serif`;

/**
 * Return the label boxes that a face may have, the preferred first: with the percentage, or small and without it; above,
 * below or inside its box.
 *
 * @param {CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D} context @param {import("./engine.js").Face} face
 * @param {Area} box @param {Area} limits @param {Look} look @returns {LabelBox[]}
 */
function candidates(context, face, box, limits, { name, unit }) {
  const label = name(face.label), gap = 3 * unit;
  const letter = Math.min(Math.max(0.13 * (box.y2 - box.y1), 11 * unit), 19 * unit);
  const sizes = /** @type {[string, number, number][]} */ ([
    [face.certain ? `${label} ${Math.round(100 * face.confidence)} %` : label, letter, 0],
    [label, Math.max(0.8 * letter, 9.5 * unit), SMALL_WEIGHT],
  ]);
  return sizes.flatMap(([text, size, cost]) => {
    context.font = font(size);
    const width = context.measureText(text).width + 2 * PADDING * size, height = 1.55 * size;
    const columns = [box.x1 - gap / 2, box.x2 + gap / 2 - width, (box.x1 + box.x2 - width) / 2];
    const rows = [box.y1 - gap - height, box.y2 + gap, box.y2 - gap - height, box.y1 + gap];
    return rows.flatMap((y) => columns.map((x) => {
      const x1 = Math.max(limits.x1, Math.min(x, limits.x2 - width));
      const y1 = Math.max(limits.y1, Math.min(y, limits.y2 - height));
      return { x1, y1, x2: x1 + width, y2: y1 + height, text, letter: size, cost };
    }));
  });
}

/** Return the label box that covers least. @param {LabelBox[]} labelBoxes @param {Area[]} boxes @param {number} own @param {Area[]} placed */
function bestLabelBox(labelBoxes, boxes, own, placed) {
  let best = labelBoxes[0], least = Infinity;
  for (const labelBox of labelBoxes) {
    let cost = labelBox.cost;
    boxes.forEach((other, at) => (cost += (at === own ? OWN_WEIGHT : FACE_WEIGHT) * covered(labelBox, other)));
    for (const other of placed) cost += LABEL_BOX_WEIGHT * covered(labelBox, other);
    if (cost < least - 1e-6) [best, least] = [labelBox, cost];
  }
  return best;
}

/** Return the part of a label box that another area covers. @param {Area} labelBox @param {Area} other */
function covered(labelBox, other) {
  const width = Math.min(labelBox.x2, other.x2) - Math.max(labelBox.x1, other.x1);
  const height = Math.min(labelBox.y2, other.y2) - Math.max(labelBox.y1, other.y1);
  return (Math.max(width, 0) * Math.max(height, 0)) / ((labelBox.x2 - labelBox.x1) * (labelBox.y2 - labelBox.y1));
}
