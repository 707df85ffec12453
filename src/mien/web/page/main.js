/** Puts the page together: an engine, three modes, settings, commands. */

import { Camera } from "./camera.js";
import { chooseNext, coloursOf, dropUnknown, listenToChoices, modelOf, showChoices } from "./choices.js";
import { byId, pause } from "./dom.js";
import { available, ENGINES, EngineError, isStatic, problemOf } from "./engine.js";
import { isPicture, isVideo, listenToFiles } from "./files.js";
import { listenToKeys, listKeys } from "./keys.js";
import { Live } from "./live.js";
import { announce, notify, rewriteNotice, withdraw } from "./notice.js";
import { Pictures } from "./pictures.js";
import { saves } from "./saves.js";
import { chosen, listeners, set, settings } from "./settings.js";
import { Videos } from "./videos.js";
import { View } from "./view.js";
import { language, say, writeWords } from "./words.js";

const RETRY_SECONDS = 0.7; // until the server is asked again what it has
const QUIET_TRIES = 8; // while it loads its model, before that is said
const LOCAL = ["localhost", "127.0.0.1", "[::1]"];

/** Names of the engines that there are. @type {string[]} */
let engines = [];
/** @type {import("./engine.js").Engine} */
let engine;
/** @type {?import("./engine.js").About} */
let about = null;

const view = new View();
const calls = { ontoken: askToken, onchange: showState };
const engineOf = () => engine;
const lives = {
  camera: new Live(byId("camera-video"), view, engineOf, chosen, calls),
  videos: new Live(byId("file-video"), view, engineOf, chosen, calls),
};
const camera = new Camera(lives.camera, showState);
const pictures = new Pictures(view, engineOf, chosen, () => about?.limits.bytes ?? Infinity, calls);
const videos = new Videos(lives.videos, engineOf, chosen, calls);
const modes = { camera, pictures, videos };
/** @typedef {keyof typeof modes} Mode @type {Mode} */
let mode = "camera";

/** Return the stream of the mode; null where there is none. @returns {?Live} */
const liveOf = () => (mode === "pictures" ? null : lives[mode]);

const commands = {
  ...saves(view, () => liveOf()?.recorder ?? pictures.recorder(), async () => (await liveOf()?.askStatistics()) ?? null),
  stop: () => modes[mode].stop(),
  pause: () => modes[mode].pause(),
  previous: () => mode === "pictures" && pictures.step(-1),
  next: () => mode === "pictures" && pictures.step(1),
  help: () => byId("help").showModal(),
  nextModel() {
    if (!about) return;
    chooseNext(about);
    announce(say("usingModel", { model: modelOf(about).name }));
  },
};

// modes

/** @param {Mode} next */
function changeMode(next) {
  if (next === mode) return;
  modes[mode].leave();
  mode = next;
  view.clear();
  showMode();
  modes[mode].enter();
  if (about) view.paint(coloursOf(about));
  liveOf()?.drawCharts();
  showState();
}

function showMode() {
  for (const name of Object.keys(modes)) {
    const tab = byId(`tab-${name}`);
    tab.setAttribute("aria-selected", String(name === mode));
    tab.tabIndex = name === mode ? 0 : -1;
  }
  byId("view").setAttribute("aria-labelledby", `tab-${mode}`);
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-mode]"))) {
    part.hidden = part.dataset.mode !== mode;
  }
  byId("course-card").hidden = byId("smoothing-field").hidden = byId("save-statistics").hidden = mode === "pictures";
  byId("empty-title").textContent = say(`${mode}Title`);
  byId("empty-text").textContent = say(`${mode}Text`);
  const isLocal = LOCAL.includes(location.hostname) || settings.engine !== "server";
  byId("privacy").textContent = isLocal ? say("local") : say("remote", { host: location.host });
}

/** Offer what can be done now. */
function showState() {
  const live = liveOf(), { current } = view;
  const isEmpty = !modes[mode].running && !current;
  byId("empty").hidden = !isEmpty;
  byId("controls").hidden = isEmpty && mode !== "camera";
  byId("saves").hidden = isEmpty;
  byId("save-picture").disabled = !(current?.picture instanceof ImageBitmap && current.seen);
  byId("save-faces").disabled = !(live?.running || current?.seen?.faces.length);
  const isRecorded = live ? live.recorder.length > 0 : pictures.items.some(({ seen }) => seen);
  byId("save-csv").disabled = byId("save-jsonl").disabled = !isRecorded;
  byId("save-statistics").disabled = !live?.recorder.length;
}

/** Recognise files, in the mode that is theirs. @param {File[]} files */
function take(files) {
  const found = files.filter(isPicture), films = files.filter(isVideo);
  const skipped = files.length - found.length - films.length;
  if (found.length) {
    changeMode("pictures");
    pictures.add(found);
  } else if (films.length) {
    changeMode("videos");
    videos.open(films[0]);
  }
  if (skipped) notify("skipped", { n: skipped });
}

// settings

/** @param {string} name  of the setting that changed */
function onsetting(name) {
  if (about && ["model", "labels"].includes(name)) dropUnknown(about);
  showChoices(about, engines);
  if (["model", "labels", "detector"].includes(name)) useChoice();
  if (name === "min_confidence") pictures.relabel();
  if (["min_confidence", "half_life", "temporal"].includes(name)) liveOf()?.change();
  if (name === "mirrored" && mode === "camera") camera.mirror();
  if (name === "whole_course") liveOf()?.drawCharts();
  if (name === "language") rewrite();
  if (name === "engine") useEngine();
}

/** Recognise with another model, label set or detector; several settings may change at once. */
function useChoice() {
  if (changing) return;
  changing = true;
  queueMicrotask(() => {
    changing = false;
    if (about) view.paint(coloursOf(about));
    pictures.again();
    liveOf()?.change();
  });
}
let changing = false;

/** Write all in another language. */
function rewrite() {
  writeWords();
  listKeys();
  showMode();
  showChoices(about, engines);
  rewriteNotice();
  for (const each of Object.values(modes)) each.rewrite();
  view.rewrite();
  liveOf()?.drawCharts();
}

function flipTheme() {
  const isDark = settings.theme ? settings.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  set("theme", isDark ? "light" : "dark");
  liveOf()?.drawCharts();
}

// engine

async function useEngine() {
  if (!engines.includes(settings.engine)) return set("engine", engines[0]); // which comes back here
  engine = await ENGINES[settings.engine]();
  await askAbout();
  restart();
}

/** Go on with an engine that is another one, or has its token now. */
function restart() {
  for (const live of Object.values(lives)) if (live.running) live.reopen();
  pictures.again();
  rewrite();
}

async function askAbout() {
  for (let tries = 0; ; tries += 1) {
    try {
      about = await engine.about();
      withdraw("serverGone", "sessionRefused", "requestBusy");
      dropUnknown(about);
      view.paint(coloursOf(about));
      showChoices(about, engines);
      return;
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      if (error.kind === "token") await askToken();
      else {
        const isLoading = error.kind === "busy" && tries < QUIET_TRIES;
        const word = { gone: "serverGone", busy: "requestBusy" }[/** @type {string} */ (error.kind)] ?? "sessionRefused";
        if (!isLoading) notify(/** @type {any} */ (word), problemOf(error));
        await pause(RETRY_SECONDS);
      }
    }
  }
}

/** Ask for the token until the server takes it, then go on where it was wanted. */
function askToken() {
  asking ??= takeToken().finally(() => (asking = null));
  return asking;
}
/** @type {?Promise<void>} */
let asking = null;

async function takeToken() {
  const { hasToken, setToken } = await import("./server.js");
  const dialog = byId("token-dialog");
  for (let isRefused = hasToken(); ; isRefused = true) {
    byId("token-wrong").textContent = isRefused ? say("tokenWrong") : "";
    dialog.showModal();
    await new Promise((done) => dialog.addEventListener("close", done, { once: true }));
    setToken(byId("token").value);
    byId("token").value = "";
    try {
      await engine.about();
      break;
    } catch (error) {
      if (!(error instanceof EngineError) || error.kind !== "token") break; // another one is said elsewhere
    }
  }
  restart();
}

// all together

function listen() {
  const names = /** @type {Mode[]} */ (Object.keys(modes));
  for (const name of names) byId(`tab-${name}`).onclick = () => changeMode(name);
  document.querySelector(".tabs")?.addEventListener("keydown", (event) => {
    const { key } = /** @type {KeyboardEvent} */ (event);
    const step = key === "ArrowRight" ? 1 : key === "ArrowLeft" ? names.length - 1 : 0;
    if (!step) return;
    event.stopPropagation();
    const next = names[(names.indexOf(mode) + step) % names.length];
    changeMode(next);
    byId(`tab-${next}`).focus();
  });
  byId("save-picture").onclick = commands.savePicture;
  byId("save-faces").onclick = commands.saveFaces;
  byId("save-csv").onclick = commands.saveCsv;
  byId("save-jsonl").onclick = commands.saveJsonl;
  byId("save-statistics").onclick = commands.saveStatistics;
  byId("open-help").onclick = commands.help;
  byId("language").onclick = () => set("language", language() === "en" ? "de" : "en");
  byId("theme").onclick = flipTheme;
  byId("dismiss").onclick = () => withdraw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => liveOf()?.drawCharts());
  addEventListener("resize", () => liveOf()?.drawCharts());
  listenToChoices();
  listenToKeys(commands);
  listenToFiles(take);
  listeners.add(onsetting);
}

listen();
rewrite();
showState();
camera.enter();
byId("docs").hidden = isStatic;
if (isStatic) navigator.serviceWorker?.register("sw.js");
engines = await available(settings.engine);
showChoices(about, engines);
await useEngine();
engines = await available(settings.engine); // the server may have been loading
showChoices(about, engines);
