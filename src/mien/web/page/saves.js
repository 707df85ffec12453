/** The buttons and keys that save what is shown. */

import { annotated, crops, named, save } from "./downloads.js";
import { announce, notify, withdraw } from "./notice.js";
import { say } from "./words.js";

/**
 * Return the commands.
 *
 * @param {import("./view.js").View} view
 * @param {() => import("./downloads.js").Recorder} recorder  of the mode
 * @param {() => Promise<?object>} statistics  of the mode
 */
export function saves(view, recorder, statistics) {
  return {
    async savePicture() {
      const { picture, seen } = view.current ?? {};
      if (!(picture instanceof ImageBitmap) || !seen) return notify("nothingToSave");
      finish(await annotated(picture, seen, view.look), named("mien", ".png"));
    },
    async saveFaces() {
      const { picture, seen } = view.current ?? {};
      if (!(picture instanceof ImageBitmap) || !seen?.faces.length) return notify("nothingToSave");
      for (const [name, blob] of await crops(picture, seen)) finish(blob, named("mien", `-${name}`));
    },
    async saveCsv() {
      if (!recorder().length) return notify("nothingToSave");
      finish(await recorder().csv(), named("mien", ".csv"));
    },
    saveJsonl() {
      if (!recorder().length) return notify("nothingToSave");
      finish(recorder().jsonl(), named("mien", ".jsonl"));
    },
    async saveStatistics() {
      const found = await statistics();
      if (!found) return notify("nothingToSave");
      const text = `${JSON.stringify(found, null, 1)}\n`;
      finish(new Blob([text], { type: "application/json" }), named("statistics", ".json"));
    },
  };
}

/** @param {Blob} blob @param {string} name */
function finish(blob, name) {
  save(blob, name);
  withdraw("nothingToSave");
  announce(say("saved", { name }));
}
