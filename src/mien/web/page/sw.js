/** The service worker of a static site: keeps its files, so that the page works without a network after one visit. */

const VERSION = "none"; // of the files; filled in when the site is written
/** @type {string[]} */ const FILES = [];

addEventListener("install", (event) => event.waitUntil(keep()));
addEventListener("activate", (event) => event.waitUntil(forget()));
addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && new URL(request.url).origin === location.origin) event.respondWith(answer(request));
});

async function keep() {
  const cache = await caches.open(VERSION);
  await cache.addAll(FILES.map((file) => new Request(new URL(file, location.href), { cache: "no-cache" })));
  await self.skipWaiting();
}

/** Delete the files of other versions. */
async function forget() {
  for (const name of await caches.keys()) if (name !== VERSION) await caches.delete(name);
  await self.clients.claim();
}

/** Answer from the cache; from the network what is not there. @param {Request} request */
async function answer(request) {
  const cache = await caches.open(VERSION);
  return (await cache.match(request, { ignoreSearch: true })) ?? fetch(request);
}
