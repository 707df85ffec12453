/** The service worker of a static site: keeps its files, so that the page works without a network after one visit. */

const MARK = "mien-site.json"; // the version and the list of files

addEventListener("install", (event) => event.waitUntil(keep().then(() => self.skipWaiting())));
addEventListener("activate", (event) => event.waitUntil(forget().then(() => self.clients.claim())));
addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && new URL(request.url).origin === location.origin) event.respondWith(answer(request));
});

async function mark() {
  return (await fetch(new URL(MARK, location.href), { cache: "no-store" })).json();
}

/** Load all files into a cache of this version. */
async function keep() {
  const { version, files } = await mark();
  const cache = await caches.open(version);
  await cache.addAll(files.map((/** @type {string} */ file) => new Request(new URL(file, location.href), { cache: "no-cache" })));
}

/** Delete the files of older versions. */
async function forget() {
  const { version } = await mark().catch(() => ({ version: null }));
  if (version === null) return;
  for (const name of await caches.keys()) if (name !== version) await caches.delete(name);
}

/** Answer from the cache; from the network what is not there. @param {Request} request */
async function answer(request) {
  const kept = await caches.match(request, { ignoreSearch: true });
  return kept ?? fetch(request);
}
