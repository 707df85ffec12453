/** Files of the user: chosen, pasted or dropped, those in dropped folders too. */

import { byId } from "./dom.js";

const PICTURES = /\.(jpe?g|png|webp|avif|gif|bmp|tiff?|heic|heif|pnm|ppm|pgm|pbm)$/i;
const VIDEOS = /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|wmv|ogv)$/i;

/** @param {File} file */
export const isPicture = (file) => file.type.startsWith("image/") || PICTURES.test(file.name);

/** @param {File} file */
export const isVideo = (file) => file.type.startsWith("video/") || VIDEOS.test(file.name);

/** Take all files that come to the page. @param {(files: File[]) => void} take */
export function listenToFiles(take) {
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
  const move = (/** @type {number} */ now) => {
    inside = now;
    byId("drop").hidden = inside === 0;
  };
  document.addEventListener("dragenter", () => move(inside + 1));
  document.addEventListener("dragleave", () => move(inside - 1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    move(0);
    if (event.dataTransfer) take(await filesIn(event.dataTransfer));
  });
}

/** @param {DataTransfer} transfer @returns {Promise<File[]>} */
async function filesIn(transfer) {
  const files = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry()); // now: they vanish with the event
  if (!entries.some((entry) => entry?.isDirectory)) return files;
  return (await Promise.all(entries.map((entry) => (entry ? within(entry) : [])))).flat();
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
