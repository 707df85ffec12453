/** Bars of probabilities, the course over time, shares. */

import { colourOf } from "./draw.js";
import { element, write } from "./dom.js";

/** @typedef {import("./draw.js").Look} Look */

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200]; // seconds between ticks

/**
 * Show one bar per label, in the order of the label set.
 *
 * @param {HTMLElement} list
 * @param {Record<string, number>} probabilities
 * @param {Omit<Look, "unit">} look
 */
export function showBars(list, probabilities, look) {
  const entries = Object.entries(probabilities);
  const key = entries.map(([label]) => label + colourOf(look.colours, label)).join();
  if (list.dataset.shown !== key) {
    list.dataset.shown = key;
    list.replaceChildren(...entries.map(([label]) => bar(label, look)));
  }
  const largest = Math.max(...entries.map(([, value]) => value));
  entries.forEach(([label, value], place) => {
    const row = /** @type {HTMLElement} */ (list.children[place]);
    const [, name, trough, percent] = /** @type {any} */ (row.children);
    write(name, look.name(label));
    write(percent, `${Math.round(100 * value)} %`);
    trough.firstChild.style.width = `${Math.round(500 * value) / 5}%`;
    row.classList.toggle("largest", value > 0 && value === largest);
  });
}

/** @param {string} label @param {Omit<Look, "unit">} look */
function bar(label, look) {
  const fill = element("span", { className: "fill" });
  fill.style.backgroundColor = colourOf(look.colours, label);
  return element("li", {}, swatch(label, look), element("span", { className: "name" }),
    element("span", { className: "trough", "aria-hidden": "true" }, fill), element("span", { className: "percent" }));
}

/**
 * Show each expression's share as one divided bar and a list.
 *
 * @param {HTMLElement} strip
 * @param {HTMLElement} list
 * @param {[string, number][]} shares
 * @param {Omit<Look, "unit">} look
 */
export function showShares(strip, list, shares, look) {
  const shown = shares.filter(([, share]) => share >= 0.005);
  strip.replaceChildren(...shown.map(([label, share]) => {
    const part = element("span");
    part.style.flexGrow = String(share);
    part.style.backgroundColor = colourOf(look.colours, label);
    return part;
  }));
  list.replaceChildren(...shown.map(([label, share]) => element("li", {}, swatch(label, look),
    element("span", { className: "name" }, look.name(label)),
    element("span", { className: "percent" }, `${Math.round(100 * share)} %`))));
}

/** Return a patch of a label's colour. @param {string} label @param {Omit<Look, "unit">} look */
export function swatch(label, look) {
  const patch = element("span", { className: "swatch", "aria-hidden": "true" });
  patch.style.backgroundColor = colourOf(look.colours, label);
  return patch;
}

/**
 * Draw probabilities over time as stacked areas, the first label on top.
 *
 * @param {HTMLCanvasElement} canvas  its colour is that of the text
 * @param {string[]} labels
 * @param {import("./history.js").Course} course
 * @param {Look["colours"]} colours
 */
export function drawCourse(canvas, labels, { times, rows, step, half, start, end }, colours) {
  const ratio = devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (!width || !height) return;
  Object.assign(canvas, { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const letter = 11 * ratio, bottom = height - 1.7 * letter;
  const at = (/** @type {number} */ time) => ((time - start) / (end - start)) * width;
  context.save();
  context.beginPath();
  context.rect(0, 0, width, bottom);
  context.clip();
  for (const run of runs(times, rows, step)) {
    const first = run[0], last = run[run.length - 1];
    const xs = [at(times[first] - half), ...run.map((place) => at(times[place])), at(times[last] + half)];
    const stacked = [first, ...run, last].map((place) => sums(/** @type {number[]} */ (rows[place])));
    labels.forEach((_, reversed) => {
      const label = labels.length - 1 - reversed;
      context.beginPath();
      context.moveTo(xs[0], 0);
      xs.forEach((x, place) => context.lineTo(x, stacked[place][label] * bottom));
      context.lineTo(xs[xs.length - 1], 0);
      context.fillStyle = colourOf(colours, labels[label]);
      context.fill();
    });
  }
  context.restore();
  drawTicks(context, { width, bottom, letter, start, end, at, colour: getComputedStyle(canvas).color });
}

/** @param {CanvasRenderingContext2D} context @param {any} axis */
function drawTicks(context, { width, bottom, letter, start, end, at, colour }) {
  context.font = `${letter}px system-ui, sans-serif`;
  context.fillStyle = colour;
  context.textBaseline = "bottom";
  const room = (1.8 * context.measureText(clock(end)).width * (end - start)) / width;
  const step = STEPS.find((seconds) => seconds >= room) ?? STEPS[STEPS.length - 1];
  for (let second = Math.ceil(start / step) * step; second <= end; second += step) {
    const text = clock(second), wide = context.measureText(text).width;
    context.fillRect(at(second), bottom, Math.max(1, letter / 11), letter / 3);
    context.fillText(text, Math.max(0, Math.min(at(second) - wide / 2, width - wide)), bottom + 1.7 * letter);
  }
}

/** @param {number[]} times @param {(?number[])[]} rows @param {number} longest @returns {number[][]} */
function runs(times, rows, longest) {
  const found = /** @type {number[][]} */ ([]);
  let last = -Infinity;
  rows.forEach((row, place) => {
    if (!row) last = -Infinity;
    else {
      if (times[place] - last > longest) found.push([]);
      found[found.length - 1].push(place);
      last = times[place];
    }
  });
  return found;
}

/** Return cumulative sums; the last is 1, whatever the rounding error. @param {number[]} row */
function sums(row) {
  let sum = 0;
  return row.map((value, place) => (place === row.length - 1 ? 1 : (sum += value)));
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds)), minutes = Math.floor(whole / 60), hours = Math.floor(minutes / 60);
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes % 60)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}
