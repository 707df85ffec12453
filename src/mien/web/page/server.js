/** The engine on the server: HTTP for pictures and whole videos, a WebSocket for streams. */

import { EngineError } from "./engine.js";
import { openSession } from "./session.js";

const ROOT = new URL("v1/", document.baseURI); // relative, so that the service may be behind a path of a proxy
const KINDS = /** @type {Record<number, any>} */ ({
  401: "token", 413: "large", 415: "unreadable", 429: "busy", 502: "gone", 503: "busy", 504: "gone",
});

/** The secret of the service; kept as long as the page. */
let token = "";

/** @param {string} text */
export function setToken(text) {
  token = /^[!-~]+$/.test(text.trim()) ? text.trim() : ""; // no service has another one
}

/** Whether requests carry a token, which may be wrong. */
export const hasToken = () => token !== "";

/** @returns {import("./engine.js").Engine} */
export function engine() {
  return {
    name: "server",
    about: () => json("about"),
    open: (settings, onstate) => openSession(address, settings, onstate, reachable),
    predict,
    videos: {
      submit,
      job: (id) => json(`videos/${id}`),
      remove: async (id) => void (await ask(`videos/${id}`, { method: "DELETE" })),
      file: async (id, name) => (await ask(`videos/${id}/${name}`)).blob(),
    },
  };
}

/** @type {import("./engine.js").Engine["predict"]} */
async function predict(picture, name, settings) {
  const body = new FormData();
  body.append("file", picture, name); // messages name it
  const answer = await json(`predict?${query(settings)}`, { method: "POST", body });
  const { error, code, warnings, ...seen } = answer.pictures[0];
  if (error) throw new EngineError("unreadable", detailOf(error), { code });
  return { seen: { ...seen, source: name }, warnings };
}

/** Uploads by XMLHttpRequest, since fetch reports no progress. @type {import("./engine.js").Videos["submit"]} */
function submit(file, settings, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", new URL(`videos?${query(settings)}`, ROOT));
    if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.setRequestHeader("Content-Type", file.type.startsWith("video/") ? file.type : "video/mp4");
    request.setRequestHeader("Content-Disposition", `attachment; filename*=UTF-8''${encodeURIComponent(file.name)}`);
    request.upload.onprogress = (event) => progress(event.total ? event.loaded / event.total : 0);
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status < 400) resolve(answer);
      else reject(problem(request.status, answer, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(new EngineError("gone"));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** @param {import("./engine.js").Settings} settings */
function query(settings) {
  const given = { ...settings, half_life: null, temporal: null }; // of streams
  const entries = Object.entries(given).filter(([, value]) => value !== null);
  return new URLSearchParams(entries.map(([name, value]) => [name, String(value)])).toString();
}

/** @param {string} path @param {RequestInit & {type?: string}} [options] */
async function json(path, options) {
  return (await ask(path, options)).json();
}

/** @param {string} path @param {RequestInit & {type?: string}} [options]  type of the content */
async function ask(path, { type, ...options } = {}) {
  const headers = new Headers();
  if (token) headers.set("Authorization", `Bearer ${token}`);
  if (type) headers.set("Content-Type", type);
  let answer;
  try {
    answer = await fetch(new URL(path, ROOT), { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch {
    throw new EngineError("gone");
  }
  if (answer.ok) return answer;
  throw problem(answer.status, parsed(await answer.text()), answer.headers.get("Retry-After"));
}

/** @param {number} status @param {any} answer @param {?string} seconds */
function problem(status, answer, seconds) {
  const { code } = answer;
  const kind = KINDS[status] ?? (code === "unreadable-picture" ? "unreadable" : "refused");
  return new EngineError(kind, detailOf(answer), { code, seconds: Number(seconds) || 1 });
}

/** @param {any} answer  problem+json, or a text */
const detailOf = (answer) => (typeof answer === "string" ? answer : String(answer.detail ?? answer.title ?? ""));

/** @param {string} text */
function parsed(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/** Return the address of live sessions and its subprotocols. */
function address() {
  const url = new URL("live", ROOT);
  url.protocol = url.protocol.replace("http", "ws");
  const encoded = encodeURIComponent(token).replace(/[()]/g, (sign) => `%${sign.charCodeAt(0).toString(16)}`);
  return { url, protocols: ["mien.live.1", ...(token ? [`mien.token.${encoded}`] : [])] };
}

/** Throw the reason why a session was refused, where a request has one; a WebSocket gives none to pages. */
async function reachable() {
  await ask("about");
}
