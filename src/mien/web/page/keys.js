/** Keys of the page; they can be switched off, since speech input and screen readers have their own. */

import { byId, element } from "./dom.js";
import { settings } from "./settings.js";
import { say } from "./words.js";

/**
 * Keys, the command of each, and its word.
 *
 * @type {[string, "stop" | "savePicture" | "saveFaces" | "saveStatistics" | "nextModel" | "pause" | "previous" | "next" |
 *   "help", Parameters<typeof say>[0]][]}
 */
const KEYS = [
  ["q", "stop", "keyStop"], ["c", "savePicture", "keySave"], ["f", "saveFaces", "keyFaces"],
  ["s", "saveStatistics", "keyStatistics"], ["m", "nextModel", "keyModel"], [" ", "pause", "keyPause"],
  ["ArrowLeft", "previous", "keyPrevious"], ["ArrowRight", "next", "keyPrevious"], ["?", "help", "keyHelp"],
];
const SHOWN = /** @type {Record<string, string>} */ ({ ArrowLeft: "←", ArrowRight: "→" });
const TYPED = "select, input:not([type=range], [type=checkbox])"; // take letters themselves
const PRESSED = "button:not(.gallery button), select, input, a, .scroll"; // take space and arrows themselves

/** @param {Record<(typeof KEYS)[number][1], () => unknown>} commands */
export function listenToKeys(commands) {
  document.addEventListener("keydown", (event) => {
    const isOurs = !(event.ctrlKey || event.metaKey || event.altKey) && settings.shortcuts;
    if (!isOurs || document.querySelector("dialog[open]")) return;
    const found = KEYS.find(([key]) => key === (event.key.length === 1 ? event.key.toLowerCase() : event.key));
    if (!found) return;
    const target = /** @type {Element} */ (event.target);
    const isPressed = found[0] === " " ? target.closest(`${PRESSED}, button`) : target.closest(PRESSED);
    if (/^[a-z?]$/.test(found[0]) ? target.closest(TYPED) : isPressed) return;
    event.preventDefault();
    commands[found[1]]();
  });
}

/** List the keys in the help. */
export function listKeys() {
  const rows = Map.groupBy(KEYS, ([, , word]) => word);
  byId("keys").replaceChildren(...[...rows].flatMap(([word, keys]) => [
    element("dt", {}, ...keys.map(([key]) => element("kbd", {}, key === " " ? say("space") : SHOWN[key] ?? key))),
    element("dd", {}, say(word)),
  ]));
}
