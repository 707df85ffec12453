/** Files of the user: which are pictures or videos, and those in dropped folders. */

const PICTURES = /\.(jpe?g|png|webp|avif|gif|bmp|tiff?|heic|heif|pnm|ppm|pgm|pbm)$/i;
const VIDEOS = /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|wmv|ogv)$/i;

/** @param {File} file */
export const isPicture = (file) => file.type.startsWith("image/") || PICTURES.test(file.name);

/** @param {File} file */
export const isVideo = (file) => file.type.startsWith("video/") || VIDEOS.test(file.name);

/** Return all files that are dropped, those in folders too. @param {DataTransfer} transfer @returns {Promise<File[]>} */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()); // now: they vanish with the event
  const files = [...transfer.files];
  if (!entries.some((entry) => entry?.isDirectory)) return files;
  const found = await Promise.all(entries.map((entry) => (entry ? within(entry) : [])));
  return found.flat();
}

/** @param {FileSystemEntry} entry @returns {Promise<File[]>} */
async function within(entry) {
  if (entry.isFile) {
    return [await new Promise((done, fail) => /** @type {FileSystemFileEntry} */ (entry).file(done, fail))];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const found = [];
  for (;;) {
    const some = /** @type {FileSystemEntry[]} */ (await new Promise((done, fail) => reader.readEntries(done, fail)));
    if (!some.length) return found.flat(); // Chromium gives a hundred at a time
    found.push(...await Promise.all(some.map(within)));
  }
}
