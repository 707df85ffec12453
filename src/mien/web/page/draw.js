/** Draws boxes and plates of faces into a canvas; the same on the stage and in saved pictures. */

const EDGE = "rgba(0, 0, 0, 0.6)"; // around lines, so that they show on any ground
const OTHER = "#696969"; // of a label without a colour
const FACE_WEIGHT = 2, PLATE_WEIGHT = 4, OWN_WEIGHT = 1, SHIFT_WEIGHT = 3; // cost of what a plate covers, or was moved

/**
 * @typedef {object} Look
 * @property {Record<string, string>} colours  label → "#rrggbb"
 * @property {(label: string) => string} name  of a label, for the user
 * @property {number} unit  pixels of the canvas per pixel of a standard screen
 *
 * @typedef {{x1: number, y1: number, x2: number, y2: number}} Area
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
 * @param {Area} limits  of the picture in the canvas; plates stay inside
 * @param {Look} look
 * @param {?import("./engine.js").Face} picked  drawn with a thicker line
 */
export function drawFaces(context, faces, boxes, limits, look, picked = null) {
  const { unit } = look;
  faces.forEach((face, place) => {
    const { x1, y1, x2, y2 } = boxes[place];
    const line = (face === picked ? 4 : 2.5) * unit;
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
  const plates = /** @type {Area[]} */ ([]);
  faces.forEach((face, place) => {
    const letter = letterHeight(boxes[place], unit);
    const text = plateText(face, look);
    context.font = `600 ${letter}px system-ui, sans-serif`;
    const width = context.measureText(text).width + 0.9 * letter;
    const plate = bestPlate(boxes, place, { width, height: 1.55 * letter }, limits, plates, 3 * unit);
    plates.push(plate);
    const colour = colourOf(look.colours, face.label);
    context.beginPath();
    context.roundRect(plate.x1, plate.y1, plate.x2 - plate.x1, plate.y2 - plate.y1, 0.35 * letter);
    context.fillStyle = colour;
    context.strokeStyle = EDGE;
    context.lineWidth = unit;
    context.stroke();
    context.fill();
    context.fillStyle = inkOn(colour);
    context.textBaseline = "middle";
    context.fillText(text, plate.x1 + 0.45 * letter, (plate.y1 + plate.y2) / 2 + 0.04 * letter);
  });
}

/** @param {import("./engine.js").Face} face @param {Look} look */
function plateText(face, look) {
  return face.certain ? `${look.name(face.label)} ${Math.round(100 * face.confidence)} %` : look.name(face.label);
}

/** @param {Area} box @param {number} unit */
function letterHeight({ y1, y2 }, unit) {
  return Math.min(Math.max(0.13 * (y2 - y1), 11 * unit), 19 * unit);
}

/**
 * Return the place of a plate that covers least: above, below or inside its box.
 *
 * @param {Area[]} boxes @param {number} own @param {{width: number, height: number}} size @param {Area} limits
 * @param {Area[]} plates @param {number} gap
 */
function bestPlate(boxes, own, { width, height }, limits, plates, gap) {
  const box = boxes[own];
  const columns = [box.x1 - gap / 2, box.x2 + gap / 2 - width];
  const rows = [box.y1 - gap - height, box.y2 + gap, box.y2 - gap - height, box.y1 + gap];
  let best = null, least = Infinity;
  for (const y of rows) {
    for (const x of columns) {
      const left = Math.max(limits.x1, Math.min(x, limits.x2 - width));
      const top = Math.max(limits.y1, Math.min(y, limits.y2 - height));
      const plate = { x1: left, y1: top, x2: left + width, y2: top + height };
      let cost = (SHIFT_WEIGHT * Math.abs(top - y)) / height / 10;
      boxes.forEach((other, at) => (cost += (at === own ? OWN_WEIGHT : FACE_WEIGHT) * covered(plate, other)));
      for (const other of plates) cost += PLATE_WEIGHT * covered(plate, other);
      if (cost < least - 1e-6) [best, least] = [plate, cost];
    }
  }
  return /** @type {Area} */ (best);
}

/** Return the part of a plate that another area covers. @param {Area} plate @param {Area} other */
function covered(plate, other) {
  const width = Math.min(plate.x2, other.x2) - Math.max(plate.x1, other.x1);
  const height = Math.min(plate.y2, other.y2) - Math.max(plate.y1, other.y1);
  return (Math.max(width, 0) * Math.max(height, 0)) / ((plate.x2 - plate.x1) * (plate.y2 - plate.y1));
}
