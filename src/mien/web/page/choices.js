/** The settings as the page shows them: lists of what the engine has, sliders, switches. */

import { byId, element } from "./dom.js";
import { set, settings } from "./settings.js";
import { detectorName, fixed, say } from "./words.js";

const DATA_NAMES = /** @type {Record<string, string>} */ ({ fer2013: "FER2013", ferplus: "FER+" });
const EVERYDAY = /** @type {const} */ (["auto", "yunet", "haar", "whole"]); // detectors with words, which come first
const ENGINE_WORDS = /** @type {Record<string, any>} */ ({ server: "onServer", here: "here" });

/** @typedef {import("./engine.js").About} About */

/** Return the model that is used: the chosen one, else the default. @param {About} about */
export function modelOf(about) {
  const named = (/** @type {?string} */ wanted) => about.models.find(({ name }) => name === wanted);
  return named(settings.model) ?? named(about.model) ?? about.models[0];
}

/** Return the label set that is used. @param {About} about */
function labelSetOf(about) {
  const model = modelOf(about);
  return settings.labels && Object.hasOwn(model.labels, settings.labels) ? settings.labels : model.default_labels;
}

/** Return the colours of the label set that is used. @param {About} about @returns {Record<string, string>} */
export const coloursOf = (about) => modelOf(about).colours[labelSetOf(about)];

/** Whether there is a temporal model for what is chosen. @param {About} about */
const hasTemporal = (about) => modelOf(about).temporal.includes(labelSetOf(about));

/** Drop choices that an engine does not have. @param {About} about */
export function dropUnknown(about) {
  if (modelOf(about).name !== settings.model) set("model", null);
  if (labelSetOf(about) !== settings.labels) set("labels", null);
  if (!about.detectors.includes(settings.detector ?? "")) set("detector", null);
  if (!hasTemporal(about)) set("temporal", false);
}

/** Choose the next model. @param {About} about */
export function chooseNext(about) {
  const place = about.models.indexOf(modelOf(about)) + 1;
  set("model", about.models[place % about.models.length].name);
}

/** Take what the user chooses. */
export function listenToChoices() {
  for (const id of /** @type {const} */ (["engine", "model", "labels", "detector"])) {
    byId(id).onchange = () => set(id, byId(id).value);
  }
  byId("threshold").oninput = () => set("min_confidence", Number(byId("threshold").value));
  byId("smoothing").oninput = () => set("half_life", Number(byId("smoothing").value));
  byId("course-recent").onclick = () => set("whole_course", false);
  byId("course-whole").onclick = () => set("whole_course", true);
  byId("shortcuts").onchange = () => set("shortcuts", byId("shortcuts").checked);
  byId("temporal").onchange = () => set("temporal", byId("temporal").checked);
  byId("mirror").onchange = () => set("mirrored", byId("mirror").checked);
}

/** Show what is chosen. @param {?About} about  null until the engine answered @param {string[]} engines */
export function showChoices(about, engines) {
  const { min_confidence, half_life, theme } = settings;
  byId("threshold").value = String(min_confidence);
  byId("threshold-value").textContent = min_confidence ? `${Math.round(100 * min_confidence)} %` : say("off");
  byId("smoothing").value = String(half_life);
  byId("smoothing-value").textContent = settings.temporal ? "" : half_life ? say("seconds", { value: fixed(half_life, 1) }) : say("off");
  byId("smoothing").disabled = byId("temporal").checked = settings.temporal;
  byId("course-recent").setAttribute("aria-pressed", String(!settings.whole_course));
  byId("course-whole").setAttribute("aria-pressed", String(settings.whole_course));
  byId("shortcuts").checked = settings.shortcuts;
  byId("mirror").checked = settings.mirrored;
  if (theme) document.documentElement.dataset.theme = theme;
  byId("engine-field").hidden = engines.length < 2;
  fill("engine", engines.map((name) => [name, say(ENGINE_WORDS[name] ?? "onServer")]), settings.engine);
  if (about) showOffer(about);
}

/** @param {About} about */
function showOffer(about) {
  fill("model", about.models.map(({ name }) => [name, name]), modelOf(about).name);
  const sets = Object.entries(modelOf(about).labels);
  fill("labels", sets.map(([name, labels]) =>
    [name, say("expressionsOf", { count: labels.length, name: DATA_NAMES[name] ?? name })]), labelSetOf(about));
  const everyday = EVERYDAY.filter((name) => about.detectors.includes(name));
  const others = about.detectors.filter((name) => !everyday.includes(/** @type {any} */ (name)));
  fill("detector", [...everyday.map((name) => [name, say(name)]), ...others.map((name) => [name, detectorName(name)])],
    settings.detector ?? about.detector);
  byId("temporal-field").hidden = !hasTemporal(about);
  byId("version").textContent = say("version", { version: about.version });
}

/** @param {string} id @param {string[][]} options  name and text @param {string} value */
function fill(id, options, value) {
  byId(id).replaceChildren(...options.map(([name, text]) => element("option", { value: name }, text)));
  byId(id).value = value;
}
