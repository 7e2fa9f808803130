// Shows a page of its own where a page of the service cannot be loaded. Pages come from the network first, everything else
// from there only: this worker keeps that page and its files, and may stay when the service no longer has it.
const CACHE = "limner-offline-{{ version }}";
const PAGE = "/offline";
const FILES = {{ files|tojson }}.map((path) => new URL(path, self.location).href);

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([PAGE, ...FILES])));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(Promise.all([forgetOthers(), self.registration.navigationPreload?.enable()]));
});

async function forgetOthers() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name.startsWith("limner-offline-") && name !== CACHE).map((name) => caches.delete(name)));
}

// Its language and theme are those of the page that it was asked for with, so its `Vary` means nothing here.
const kept = async (address) => (await caches.match(address, { ignoreVary: true })) ?? Response.error();

async function load(event) {
  try {
    return (await event.preloadResponse) ?? await fetch(event.request);
  } catch {
    return kept(PAGE);
  }
}

// What is below /api/ may be a long download, which a worker could end.
self.addEventListener("fetch", (event) => {
  const { method, mode, url } = event.request;
  if (FILES.includes(url)) event.respondWith(kept(url));
  else if (mode === "navigate" && method === "GET" && !new URL(url).pathname.startsWith("/api/")) event.respondWith(load(event));
});
