/** Crops of faces in the geometry of FER2013, as `mien.vision.crop` cuts them. */

import { rint, shrink, warp } from "./pixels.js";

// YuNet's five points in FER2013's images, and Haar's box, as fractions of the side; see mien/vision/crop.py
const POINTS = [[0.32, 0.37], [0.67, 0.37], [0.48, 0.59], [0.35, 0.75], [0.64, 0.75]];
const HAAR_OFFSET = 0.01, HAAR_SIDE = 0.97;
const MIN_SIDE = 48, MAX_SIDE = 256;

/** @typedef {import("./pixels.js").Matrix} Matrix */

/** Return a square crop, with a side of 48 to 256 pixels. @param {import("./pixels.js").Image} image @param {import("./faces.js").Face} face */
export function crop(image, face) {
  let frame = fit(POINTS, face.landmarks);
  const side = Math.hypot(frame[0], frame[3]);
  if (!frame.every(Number.isFinite) || side < 1) frame = frameOfBox(face.box);
  return cut(image, frame);
}

/** Return the least-squares similarity transform (Umeyama 1991) from source to target points. @param {number[][]} source @param {number[][]} target @returns {Matrix} */
function fit(source, target) {
  const [sx, sy] = mean(source), [tx, ty] = mean(target);
  let spread = 0, a = 0, b = 0;
  for (const [i, [x, y]] of source.entries()) {
    const [u, v, p, q] = [x - sx, y - sy, target[i][0] - tx, target[i][1] - ty];
    spread += u * u + v * v;
    a += u * p + v * q;
    b += u * q - v * p;
  }
  a /= spread;
  b /= spread;
  return [a, -b, tx - (a * sx - b * sy), b, a, ty - (b * sx + a * sy)];
}

/** @param {number[][]} points */
const mean = (points) => [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);

/** @param {import("./faces.js").Box} box @returns {Matrix} from the unit square to pixels of the image */
function frameOfBox([x1, y1, x2, y2]) {
  const side = Math.max(x2 - x1, y2 - y1, 1), frame = side / HAAR_SIDE;
  const corner = -side / 2 - HAAR_OFFSET * frame;
  return [frame, 0, (x1 + x2) / 2 + corner, 0, frame, (y1 + y2) / 2 + corner];
}

/** @param {import("./pixels.js").Image} image @param {Matrix} frame  from the unit square to pixels of the image */
function cut(image, frame) {
  const side = Math.hypot(frame[0], frame[3]);
  const size = Math.min(Math.max(rint(side), MIN_SIDE), MAX_SIDE);
  let [a, b, c, d, e, f] = frame;
  if (side > MAX_SIDE) {
    const small = shrunkBy(image, MAX_SIDE / side);
    const [fx, fy] = [small.width / image.width, small.height / image.height];
    [a, b, c, d, e, f] = [a * fx, b * fx, c * fx, d * fy, e * fy, f * fy];
    image = small;
  }
  [a, b, d, e] = [a / size, b / size, d / size, e / size];
  return warp(image, [a, b, c + (a + b) / 2 - 0.5, d, e, f + (d + e) / 2 - 0.5], size, size);
}

/** @param {import("./pixels.js").Image} image @param {number} scale */
function shrunkBy(image, scale) {
  return shrink(image, Math.max(1, rint(image.width * scale)), Math.max(1, rint(image.height * scale)));
}
