/** A worker that encodes frames as JPEG, in their order, so that the page draws meanwhile. */

const QUALITY = 0.8; // 20 kB at 640x480
const canvas = new OffscreenCanvas(1, 1);
const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));

let last = Promise.resolve();
onmessage = ({ data: { id, bitmap, width, height } }) => {
  last = last.then(async () => {
    try {
      Object.assign(canvas, { width, height });
      context.drawImage(bitmap, 0, 0, width, height);
      bitmap.close();
      const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: QUALITY });
      postMessage({ id, jpeg: await blob.arrayBuffer() });
    } catch (error) {
      postMessage({ id, error: String(error) });
    }
  });
};
