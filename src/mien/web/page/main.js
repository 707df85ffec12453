/** Puts the page together: engine, modes, settings, keys. */

import { Camera } from "./camera.js";
import { byId, element } from "./dom.js";
import { annotated, crops, named, save } from "./downloads.js";
import { dropped, isPicture, isVideo } from "./files.js";
import { available, ENGINES, EngineError, isStatic } from "./engine.js";
import { Live } from "./live.js";
import { announce, notify, rewriteNotice, withdraw } from "./notice.js";
import { Pictures } from "./pictures.js";
import { chosen, listeners, set, settings } from "./settings.js";
import { Videos } from "./videos.js";
import { View } from "./view.js";
import { language, say, writeWords } from "./words.js";

const RETRY_SECONDS = 2; // until the server is asked again what it has
const DATA_NAMES = /** @type {Record<string, string>} */ ({ fer2013: "FER2013", ferplus: "FER+" });
const DETECTOR_WORDS = ["auto", "yunet", "haar", "whole"];
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/** @type {string[]} */
let engines = [];
/** @type {import("./engine.js").Engine} */
let engine;
/** @type {?import("./engine.js").About} */
let about = null;

const view = new View();
const engineOf = () => engine;
const cameraLive = new Live(byId("camera-video"), view, engineOf, chosen, { ontoken: askToken, onchange: showState });
const videoLive = new Live(byId("file-video"), view, engineOf, chosen, { ontoken: askToken, onchange: showState });
const camera = new Camera(cameraLive, showState);
const pictures = new Pictures(view, engineOf, chosen, () => about?.limits.bytes ?? Infinity,
  { ontoken: askToken, onchange: showState });
const videos = new Videos(videoLive, engineOf, chosen, { ontoken: askToken, onchange: showState });
const modes = { camera, pictures, videos };
/** @type {Camera | Pictures | Videos} */
let mode = camera;

/** @param {keyof typeof modes} name */
async function changeMode(name) {
  if (modes[name] === mode) return;
  const old = mode;
  mode = modes[name];
  await old.leave();
  view.clear();
  showMode();
  mode.enter();
  showState();
}

function showMode() {
  for (const name of Object.keys(modes)) {
    const tab = byId(`tab-${name}`);
    tab.setAttribute("aria-selected", String(name === mode.name));
    tab.tabIndex = name === mode.name ? 0 : -1;
    if (name === mode.name) byId("view").setAttribute("aria-labelledby", tab.id);
  }
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-mode]"))) {
    if (part.id !== "job") part.hidden = part.dataset.mode !== mode.name;
  }
  if (mode !== videos) byId("job").hidden = true;
  byId("course-card").hidden = byId("smoothing-field").hidden = mode === pictures;
  byId("empty-title").textContent = say(`${mode.name}Title`);
  byId("empty-text").textContent = say(`${mode.name}Text`);
  const isLocal = LOCAL.includes(location.hostname) || settings.engine !== "server";
  byId("privacy").textContent = isLocal ? say("local") : say("remote", { host: location.host });
}

/** Enable what can be done now. */
function showState() {
  const isEmpty = !mode.running && !view.current;
  byId("empty").hidden = !isEmpty;
  const { current } = view, live = liveOf(mode);
  byId("save-picture").disabled = !(current?.picture instanceof ImageBitmap);
  byId("save-faces").disabled = !current?.seen?.faces.length && !live?.running;
  const hasRecords = live ? live.recorder.length > 0 || live.running : pictures.items.some(({ seen }) => seen);
  byId("save-csv").disabled = byId("save-jsonl").disabled = !hasRecords;
  byId("save-statistics").hidden = mode === pictures;
  byId("save-statistics").disabled = !live || (!live.statistics && !live.running);
  byId("controls").hidden = isEmpty && mode === pictures;
}

/** @param {typeof mode} of @returns {?Live} */
const liveOf = (of) => (of === camera ? cameraLive : of === videos ? videoLive : null);

const commands = {
  stop: () => mode.stop(),
  pause: () => mode.pause(),
  help: () => byId("help").showModal(),
  previous: () => mode === pictures && pictures.step(-1),
  next: () => mode === pictures && pictures.step(1),
  async savePicture() {
    const { current } = view;
    if (!(current?.picture instanceof ImageBitmap) || !current.seen) return notify("nothingToSave");
    finish(await annotated(current.picture, current.seen, view.look), named("mien", "png"));
  },
  async saveFaces() {
    const { current } = view;
    if (!(current?.picture instanceof ImageBitmap) || !current.seen?.faces.length) return notify("nothingToSave");
    for (const [name, blob] of await crops(current.picture, current.seen)) finish(blob, `${named("mien", name)}`);
  },
  async saveCsv() {
    const recorder = liveOf(mode)?.recorder ?? pictures.recorder();
    if (!recorder.length) return notify("nothingToSave");
    finish(await recorder.csv(), named("mien", "csv"));
  },
  saveJsonl() {
    const recorder = liveOf(mode)?.recorder ?? pictures.recorder();
    if (!recorder.length) return notify("nothingToSave");
    finish(recorder.jsonl(), named("mien", "jsonl"));
  },
  async saveStatistics() {
    const statistics = await liveOf(mode)?.askStatistics();
    if (!statistics) return notify("nothingToSave");
    finish(new Blob([`${JSON.stringify(statistics, null, 1)}\n`], { type: "application/json" }), named("statistics", "json"));
  },
  nextModel() {
    const names = about?.models.map(({ name }) => name) ?? [];
    if (names.length < 2) return;
    set("model", names[(names.indexOf(byId("model").value) + 1) % names.length]);
    announce(say("usingModel", { model: settings.model }));
  },
};

/** @param {Blob} blob @param {string} name */
function finish(blob, name) {
  save(blob, name);
  withdraw("nothingToSave");
  announce(say("saved", { name }));
}

// keys

const KEYS = /** @type {[string, keyof typeof commands, any][]} */ ([
  ["q", "stop", "keyStop"], ["c", "savePicture", "keySave"], ["f", "saveFaces", "keyFaces"],
  ["s", "saveStatistics", "keyStatistics"], ["m", "nextModel", "keyModel"], [" ", "pause", "keyPause"],
  ["ArrowLeft", "previous", "keyPrevious"], ["ArrowRight", "next", "keyPrevious"], ["?", "help", "keyHelp"],
]);

/** @param {KeyboardEvent} event */
function onkey(event) {
  const target = /** @type {Element} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || !settings.shortcuts || document.querySelector("dialog[open]")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const isOwn = key.length === 1 && key !== " " ? "select, input:not([type=range], [type=checkbox])" : "button, select, input, a, .scroll, .tabs";
  const found = KEYS.find(([name]) => name === key);
  if (!found || target.closest(isOwn) && !(target.closest(".gallery") && key.startsWith("Arrow"))) return;
  event.preventDefault();
  commands[found[1]]();
}

function listKeys() {
  const rows = KEYS.filter(([name]) => name !== "ArrowLeft").flatMap(([name, , does]) => [
    element("dt", {}, ...(name === "ArrowRight" ? [element("kbd", {}, "←"), " ", element("kbd", {}, "→")] :
      [element("kbd", {}, name === " " ? say("space") : name)])),
    element("dd", {}, say(does)),
  ]);
  byId("keys").replaceChildren(...rows);
}

// settings

function showSettings() {
  byId("threshold").value = String(settings.min_confidence);
  byId("threshold-value").textContent = settings.min_confidence ? `${Math.round(100 * settings.min_confidence)} %` : say("off");
  byId("smoothing").value = String(settings.half_life);
  byId("smoothing-value").textContent = settings.half_life ? say("seconds", { value: settings.half_life.toFixed(1) }) : say("off");
  byId("course-recent").setAttribute("aria-pressed", String(!settings.whole_course));
  byId("course-whole").setAttribute("aria-pressed", String(settings.whole_course));
  byId("shortcuts").checked = settings.shortcuts;
  if (settings.theme) document.documentElement.dataset.theme = settings.theme;
  if (!about) return;
  const model = about.models.find(({ name }) => name === settings.model) ?? about.models.find(({ name }) => name === about?.model);
  fill("model", about.models.map(({ name }) => [name, name]), model?.name ?? about.model);
  const sets = Object.entries(model?.labels ?? {});
  const set_ = settings.labels && model?.labels[settings.labels] ? settings.labels : model?.default_labels ?? "";
  fill("labels", sets.map(([name, labels]) => [name, say("expressionsOf", { count: labels.length, name: DATA_NAMES[name] ?? name })]), set_);
  const detectors = [...about.detectors].sort((a, b) => Number(DETECTOR_WORDS.includes(b)) - Number(DETECTOR_WORDS.includes(a)));
  fill("detector", detectors.map((name) => [name, DETECTOR_WORDS.includes(name) ? say(/** @type {any} */ (name)) : name]),
    settings.detector ?? about.detector);
  byId("version").textContent = say("version", { version: about.version });
  view.paint(model?.colours?.[set_] ?? view.look.colours);
}

/** @param {string} id @param {[string, string][]} options @param {string} value */
function fill(id, options, value) {
  byId(id).replaceChildren(...options.map(([name, text]) => element("option", { value: name }, text)));
  byId(id).value = value;
}

/** Choices that this engine does not have are dropped. */
function checkSettings() {
  if (!about) return;
  const model = about.models.find(({ name }) => name === settings.model);
  if (!model) set("model", null);
  const labels = (model ?? about.models.find(({ name }) => name === about?.model))?.labels ?? {};
  if (settings.labels && !Object.hasOwn(labels, settings.labels)) set("labels", null);
  if (settings.detector && !about.detectors.includes(settings.detector)) set("detector", null);
}

/** @param {string} name  of the setting that changed */
function onsetting(name) {
  if (name === "model") checkSettings();
  showSettings();
  if (["model", "labels", "detector"].includes(name)) pictures.again();
  if (name === "min_confidence") pictures.relabel();
  if (["model", "labels", "detector", "min_confidence", "half_life"].includes(name)) liveOf(mode)?.change();
  if (name === "mirrored" && mode === camera) {
    view.stage.mirrored = settings.mirrored;
    view.stage.draw();
  }
  if (name === "whole_course") liveOf(mode)?.drawCharts();
  if (name === "language") rewrite();
  if (name === "engine") useEngine();
}

// language and theme

function rewrite() {
  writeWords();
  listKeys();
  listEngines();
  showMode();
  showSettings();
  rewriteNotice();
  camera.rewrite();
  videos.rewrite();
  view.rewrite();
  if (mode === pictures) pictures.rewrite();
  else liveOf(mode)?.drawCharts();
}

function flipTheme() {
  const isDark = settings.theme ? settings.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  set("theme", isDark ? "light" : "dark");
  liveOf(mode)?.drawCharts();
}

// engine

function listEngines() {
  const words = /** @type {Record<string, any>} */ ({ server: "onServer", here: "here" });
  byId("engine-field").hidden = engines.length < 2;
  fill("engine", engines.map((name) => [name, say(words[name] ?? name)]), settings.engine);
}

async function useEngine() {
  if (!engines.includes(settings.engine)) return set("engine", engines[0]); // which comes back here
  engine = await ENGINES[settings.engine]();
  await askAbout();
  for (const live of [cameraLive, videoLive]) if (live.running) live.reopen();
  pictures.again();
  showMode();
}

async function askAbout() {
  for (;;) {
    try {
      about = await engine.about();
      withdraw("serverGone");
      checkSettings();
      showSettings();
      return;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      if (error.kind === "token") await askToken();
      else {
        notify(error.kind === "gone" ? "serverGone" : "sessionRefused", { detail: error.message });
        await new Promise((done) => setTimeout(done, 1000 * RETRY_SECONDS));
      }
    }
  }
}

/** @type {?Promise<void>} */
let asking = null;

/** Ask for the token until the server takes it, then go on where it was wanted. */
function askToken() {
  asking ??= (async () => {
    const { setToken } = await import("./server.js");
    const dialog = byId("token-dialog");
    for (let tries = 0; ; tries += 1) {
      byId("token-wrong").textContent = tries ? say("tokenWrong") : "";
      dialog.showModal();
      await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
      setToken(byId("token").value);
      byId("token").value = "";
      try {
        about = await engine.about();
        break;
      } catch (error) {
        if (!(error instanceof EngineError) || error.kind !== "token") break; // another one is said elsewhere
      }
    }
    asking = null;
    for (const live of [cameraLive, videoLive]) if (live.running) live.reopen();
    pictures.again();
  })();
  return asking;
}

// files that are dropped, pasted or chosen

/** @param {File[]} files */
async function take(files) {
  const found = files.filter(isPicture), films = files.filter(isVideo);
  const skipped = files.length - found.length - films.length;
  if (found.length) {
    await changeMode("pictures");
    pictures.add(found);
  } else if (films.length) {
    await changeMode("videos");
    videos.open(films[0]);
  }
  if (skipped) notify("skipped", { n: skipped });
}

function listenToFiles() {
  for (const id of ["picture-files", "picture-folder", "video-file"]) {
    byId(id).onchange = () => {
      take([...byId(id).files]);
      byId(id).value = "";
    };
  }
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  });
  let inside = 0; // dragenter and dragleave come for every element on the way
  const show = () => (byId("drop").hidden = inside === 0);
  document.addEventListener("dragenter", () => show(void (inside += 1)));
  document.addEventListener("dragleave", () => show(void (inside -= 1)));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    show(void (inside = 0));
    if (event.dataTransfer) take(await dropped(event.dataTransfer));
  });
}

// all together

function listen() {
  for (const name of /** @type {(keyof typeof modes)[]} */ (Object.keys(modes))) {
    byId(`tab-${name}`).onclick = () => changeMode(name);
  }
  document.querySelector(".tabs")?.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[/** @type {KeyboardEvent} */ (event).key];
    if (!step) return;
    const names = /** @type {(keyof typeof modes)[]} */ (Object.keys(modes));
    const next = names[(names.indexOf(/** @type {any} */ (mode.name)) + step + names.length) % names.length];
    changeMode(next);
    byId(`tab-${next}`).focus();
  });
  for (const [id, command] of /** @type {[string, keyof typeof commands][]} */ ([
    ["save-picture", "savePicture"], ["save-faces", "saveFaces"], ["save-csv", "saveCsv"],
    ["save-jsonl", "saveJsonl"], ["save-statistics", "saveStatistics"], ["open-help", "help"],
  ])) byId(id).onclick = () => commands[command]();
  byId("language").onclick = () => set("language", language() === "en" ? "de" : "en");
  byId("theme").onclick = flipTheme;
  byId("dismiss").onclick = () => withdraw();
  byId("model").onchange = () => set("model", byId("model").value);
  byId("labels").onchange = () => set("labels", byId("labels").value);
  byId("detector").onchange = () => set("detector", byId("detector").value);
  byId("engine").onchange = () => set("engine", byId("engine").value);
  byId("threshold").oninput = () => set("min_confidence", Number(byId("threshold").value));
  byId("smoothing").oninput = () => set("half_life", Number(byId("smoothing").value));
  byId("course-recent").onclick = () => set("whole_course", false);
  byId("course-whole").onclick = () => set("whole_course", true);
  byId("shortcuts").onchange = () => set("shortcuts", byId("shortcuts").checked);
  document.addEventListener("keydown", onkey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => liveOf(mode)?.drawCharts());
  addEventListener("resize", () => liveOf(mode)?.drawCharts());
  listeners.add(onsetting);
  listenToFiles();
}

listen();
rewrite();
showState();
camera.enter();
if (isStatic) navigator.serviceWorker?.register("sw.js");
engines = await available();
listEngines();
await useEngine();
