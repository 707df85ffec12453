/**
 * Images as arrays, with the arithmetic of OpenCV, so that crops are those of Python to a level of 255.
 *
 * @typedef {object} Image
 * @property {Uint8Array | Uint8ClampedArray} data  row by row, `channels` bytes per pixel: 4 (RGBA) or 1 (grey)
 * @property {number} width
 * @property {number} height
 * @property {number} channels
 *
 * @typedef {[number, number, number, number, number, number]} Matrix  (2, 3), row by row
 */

const STEPS = 32; // of a pixel, in coordinates of `warp`
const EPSILON = 1e-3; // least share of a pixel that `shrink` counts

/** @param {number} width @param {number} height @param {number} channels @returns {Image} */
export const blank = (width, height, channels) => ({
  data: new Uint8ClampedArray(width * height * channels), width, height, channels,
});

/** Round half to even, as C's rint. @param {number} value */
export function rint(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

/** Shrink by area; neither side grows. cv2.INTER_AREA. @param {Image} image @param {number} width @param {number} height */
export function shrink(image, width, height) {
  if (image.width === width && image.height === height) return image;
  const { data, channels } = image;
  const result = blank(width, height, channels);
  const columns = shares(image.width, width), rows = shares(image.height, height);
  const isWhole = image.width % width === 0 && image.height % height === 0;
  const area = (image.width / width) * (image.height / height);
  const line = new Float32Array(width * channels), sum = new Float32Array(width * channels);
  for (let y = 0; y < height; y += 1) {
    sum.fill(0);
    for (let j = rows.first[y]; j < rows.first[y + 1]; j += 1) {
      const start = rows.from[j] * image.width * channels;
      line.fill(0);
      for (let x = 0; x < width; x += 1) {
        for (let i = columns.first[x]; i < columns.first[x + 1]; i += 1) {
          const from = start + columns.from[i] * channels, share = isWhole ? 1 : columns.share[i];
          for (let c = 0; c < channels; c += 1) line[x * channels + c] += share * data[from + c];
        }
      }
      const share = isWhole ? 1 : rows.share[j];
      for (let i = 0; i < line.length; i += 1) sum[i] += share * line[i];
    }
    const to = y * width * channels;
    if (!isWhole) for (let i = 0; i < sum.length; i += 1) result.data[to + i] = rint(sum[i]);
    else if (area === 4) for (let i = 0; i < sum.length; i += 1) result.data[to + i] = (sum[i] + 2) >> 2;
    else for (let i = 0; i < sum.length; i += 1) result.data[to + i] = rint(sum[i] / area);
  }
  return result;
}

/** For each of `size` pixels, which of `of` pixels it covers, and by which share. @param {number} of @param {number} size */
function shares(of, size) {
  const scale = of / size;
  const first = new Int32Array(size + 1);
  /** @type {number[]} */ const from = [];
  /** @type {number[]} */ const share = [];
  for (let i = 0; i < size; i += 1) {
    first[i] = from.length;
    const start = i * scale, end = start + scale, width = Math.min(scale, of - start);
    const low = Math.min(Math.ceil(start), of - 1), high = Math.min(Math.floor(end), of - 1);
    const begin = Math.min(low, high);
    if (begin - start > EPSILON) push(begin - 1, (begin - start) / width);
    for (let pixel = begin; pixel < high; pixel += 1) push(pixel, 1 / width);
    if (end - high > EPSILON) push(high, Math.min(Math.min(end - high, 1), width) / width);
  }
  first[size] = from.length;
  return { first, from, share: Float32Array.from(share) };

  /** @param {number} pixel @param {number} part */
  function push(pixel, part) {
    from.push(pixel);
    share.push(part);
  }
}

/** Enlarge, or squeeze one side and enlarge the other, by bilinear interpolation. cv2.INTER_LINEAR. @param {Image} image @param {number} width @param {number} height */
export function enlarge(image, width, height) {
  const { data, channels } = image;
  const result = blank(width, height, channels);
  const columns = neighbours(image.width, width), rows = neighbours(image.height, height);
  for (let y = 0; y < height; y += 1) {
    const [top, bottom, down] = rows[y];
    for (let x = 0; x < width; x += 1) {
      const [left, right, across] = columns[x];
      for (let c = 0; c < channels; c += 1) {
        const at = (/** @type {number} */ row, /** @type {number} */ column) => data[(row * image.width + column) * channels + c];
        const upper = at(top, left) * (2048 - across) + at(top, right) * across;
        const lower = at(bottom, left) * (2048 - across) + at(bottom, right) * across;
        const sum = (((2048 - down) * (upper >> 4)) >> 16) + ((down * (lower >> 4)) >> 16);
        result.data[(y * width + x) * channels + c] = (sum + 2) >> 2;
      }
    }
  }
  return result;
}

/** For each of `size` pixels, its two neighbours among `of`, and the weight of the second in 2048ths. @param {number} of @param {number} size @returns {[number, number, number][]} */
function neighbours(of, size) {
  return Array.from({ length: size }, (_, i) => {
    const place = (i + 0.5) * (of / size) - 0.5;
    const first = Math.floor(place);
    if (first < 0) return [0, 0, 0];
    if (first >= of - 1) return [of - 1, of - 1, 0];
    return [first, first + 1, rint((place - first) * 2048)];
  });
}

/** Resize to size × size pixels: by area when shrinking, bilinear when enlarging. @param {Image} image @param {number} size */
export function resize(image, size) {
  if (image.width === size && image.height === size) return image;
  const isSmaller = image.width >= size && image.height >= size;
  return isSmaller ? shrink(image, size, size) : enlarge(image, size, size);
}

/**
 * Sample an image at the places of another one's pixels, in steps of a 32nd of a pixel. cv2.warpAffine with
 * WARP_INVERSE_MAP.
 *
 * @param {Image} image
 * @param {Matrix} matrix  from pixels of the result to pixels of the image
 * @param {number} width  of the result
 * @param {number} height
 * @param {boolean} [repeats]  whether the last pixels repeat beyond the edge; else it is black there
 */
export function warp(image, matrix, width, height, repeats = true) {
  const [a, b, c, d, e, f] = matrix;
  const { data, channels } = image;
  const result = blank(width, height, channels);
  const right = image.width - 1, bottom = image.height - 1;
  const acrossX = Float64Array.from({ length: width }, (_, x) => rint(a * x * 1024));
  const acrossY = Float64Array.from({ length: width }, (_, x) => rint(d * x * 1024));
  for (let y = 0, to = 0; y < height; y += 1) {
    const startX = rint((b * y + c) * 1024) + 16, startY = rint((e * y + f) * 1024) + 16;
    for (let x = 0; x < width; x += 1) {
      const X = (startX + acrossX[x]) >> 5, Y = (startY + acrossY[x]) >> 5;
      const x0 = X >> 5, y0 = Y >> 5, fx = X & (STEPS - 1), fy = Y & (STEPS - 1);
      let left = STEPS - fx, next = fx, upper = STEPS - fy, lower = fy;
      if (!repeats) {
        if (x0 < 0 || x0 > right) left = 0;
        if (x0 < -1 || x0 >= right) next = 0;
        if (y0 < 0 || y0 > bottom) upper = 0;
        if (y0 < -1 || y0 >= bottom) lower = 0;
      }
      const column = clamp(x0, right) * channels, nextColumn = clamp(x0 + 1, right) * channels;
      const row = clamp(y0, bottom) * image.width * channels, nextRow = clamp(y0 + 1, bottom) * image.width * channels;
      for (let channel = 0; channel < channels; channel += 1, to += 1) {
        const above = left * data[row + column + channel] + next * data[row + nextColumn + channel];
        const below = left * data[nextRow + column + channel] + next * data[nextRow + nextColumn + channel];
        result.data[to] = (512 + upper * above + lower * below) >> 10;
      }
    }
  }
  return result;
}

/** @param {number} value @param {number} largest */
const clamp = (value, largest) => (value < 0 ? 0 : value > largest ? largest : value);

/** Return an RGBA image as grey, by the luma weights of BT.601. cv2.COLOR_RGB2GRAY. @param {Image} image */
export function grey(image) {
  const { data } = image, result = blank(image.width, image.height, 1);
  for (let i = 0, from = 0; i < result.data.length; i += 1, from += 4) {
    result.data[i] = (data[from] * 9798 + data[from + 1] * 19235 + data[from + 2] * 3735 + 16384) >> 15;
  }
  return result;
}

/** Equalise the histogram of a grey image. cv2.equalizeHist. @param {Image} image */
export function equalize(image) {
  const counts = new Uint32Array(256);
  for (const value of image.data) counts[value] += 1;
  const lowest = counts.findIndex((count) => count > 0), total = image.data.length;
  if (counts[lowest] === total) return image;
  const scale = Math.fround(255 / (total - counts[lowest]));
  const table = new Uint8ClampedArray(256);
  for (let value = lowest + 1, sum = 0; value < 256; value += 1) {
    sum += counts[value];
    table[value] = rint(Math.fround(sum * scale));
  }
  return { ...image, data: image.data.map((value) => table[value]) };
}

/** Whether an RGBA image is nearly black: all but 1 % of its values are below 40, looked at in every eighth pixel. @param {Image} image */
export function isDark(image) {
  let bright = 0, total = 0;
  for (let y = 0; y < image.height; y += 8) {
    for (let x = 0; x < image.width; x += 8) {
      for (let c = 0; c < 3; c += 1, total += 1) bright += Number(image.data[(y * image.width + x) * 4 + c] >= DARK);
    }
  }
  return bright <= 0.01 * total;
}

const DARK = 40;
