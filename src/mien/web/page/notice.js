/** One line above the picture for what went wrong, and quiet words for screen readers. */

import { byId } from "./dom.js";
import { detailIn, say } from "./words.js";

const QUIET_SECONDS = 4; // between two announcements of what is seen

/** @type {?{key: any, values: any}} */
let shown = null;

/** Show a line until it is dismissed or withdrawn. @param {Parameters<typeof say>[0]} key @param {Record<string, any>} [values] */
export function notify(key, values = {}) {
  shown = { key, values };
  rewriteNotice();
}

/** Remove the line, where it is one of these; any one without a name. @param {...string} keys */
export function withdraw(...keys) {
  if (keys.length && !keys.includes(shown?.key)) return;
  shown = null;
  rewriteNotice();
}

/** Write the line again, in another language. */
export function rewriteNotice() {
  byId("notice").hidden = !shown;
  byId("notice-text").textContent = shown ? say(shown.key, { ...shown.values, detail: detailIn(shown.values) }) : "";
}

/** Announce at once. @param {string} text */
export function announce(text) {
  byId("live").textContent = text;
}

let last = "", time = 0;

/** Announce what a stream shows, where it changed, and not often. @param {string} text */
export function announceSeen(text) {
  if (text === last || performance.now() - time < 1000 * QUIET_SECONDS) return;
  last = text;
  time = performance.now();
  announce(text);
}
