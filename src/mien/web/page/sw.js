/**
 * The service worker of a static site: keeps its files, so that the page works without a network after one visit, and
 * isolates the page from other origins, where the server does not, so that ONNX Runtime may use threads.
 */

const VERSION = "none"; // of the files; filled in when the site is written
/** @type {string[]} */ const FILES = [];
/** Files that not every visitor needs, kept once they were. @type {string[]} */ const LATER = [];
const OWN = `mien:${new URL("./", location.href).href}:`; // begins the names of this site's caches: others share the origin
const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
worker.addEventListener("install", (event) => event.waitUntil(keep()));
worker.addEventListener("activate", (event) => event.waitUntil(forget()));
worker.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && new URL(request.url).origin === location.origin) event.respondWith(answer(request));
});

async function keep() {
  const cache = await caches.open(OWN + VERSION);
  await cache.addAll(FILES.map((file) => new Request(new URL(file, location.href), { cache: "no-cache" })));
  await worker.skipWaiting();
}

/** Delete the files of other versions. */
async function forget() {
  for (const name of await caches.keys()) if (name.startsWith(OWN) && name !== OWN + VERSION) await caches.delete(name);
  await worker.clients.claim();
}

/** Answer from the cache; from the network what is not there. @param {Request} request */
async function answer(request) {
  const cache = await caches.open(OWN + VERSION);
  const kept = await cache.match(request, { ignoreSearch: true });
  if (kept) return isolated(kept);
  const found = await fetch(request);
  if (found.ok && LATER.some((file) => new URL(file, location.href).href === request.url)) {
    await cache.put(request, found.clone());
  }
  return isolated(found);
}

/** @param {Response} response */
function isolated(response) {
  if (response.type === "opaqueredirect") return response; // whose headers cannot be read
  const { status, statusText, body } = response, headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(body, { status, statusText, headers });
}
