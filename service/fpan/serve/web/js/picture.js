/** Reading pictures in the browser. */

/** Longest side of what is drawn on the page, in pixels; downloads keep the picture's own size. */
const VIEW_SIDE = 2048;

/**
 * The picture as it is meant to be seen, turned as its EXIF says.
 * @param {Blob} blob
 * @returns {Promise<ImageBitmap | null>} null when this browser cannot read the format
 */
export async function decode(blob) {
  try {
    return await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
}

/**
 * Size to draw a picture at.
 * @param {number} width
 * @param {number} height
 */
export function viewSize(width, height) {
  const scale = Math.min(1, VIEW_SIDE / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/**
 * A label map at another size: the nearest pixel, never a mixture.
 * @param {Uint8Array} labels row by row, width * height
 * @param {number} width
 * @param {number} height
 * @param {{width: number, height: number}} to
 */
export function resample(labels, width, height, to) {
  if (to.width === width && to.height === height) return labels;
  const out = new Uint8Array(to.width * to.height);
  const columns = Uint32Array.from({ length: to.width }, (_, x) => Math.floor(((x + 0.5) * width) / to.width));
  for (let y = 0; y < to.height; y += 1) {
    const row = Math.floor(((y + 0.5) * height) / to.height) * width;
    for (let x = 0; x < to.width; x += 1) out[y * to.width + x] = labels[row + columns[x]];
  }
  return out;
}

/**
 * The grey values of a PNG in base64, at another size.
 * @param {string} base64
 * @param {{width: number, height: number}} to
 * @returns {Promise<Uint8Array>} row by row
 */
export async function greys(base64, to) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }), { colorSpaceConversion: "none" });
  const context = new OffscreenCanvas(to.width, to.height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0, to.width, to.height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, to.width, to.height);
  return Uint8Array.from({ length: to.width * to.height }, (_, i) => data[4 * i]);
}

/**
 * The picture with nothing left but the parts that are on.
 * @param {ImageBitmap} bitmap
 * @param {Uint8Array} labels row by row, in the bitmap's own size
 * @param {Set<number>} on class ids
 * @returns {Promise<Blob>} a PNG with alpha
 */
export async function cutOut(bitmap, labels, on) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const image = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i += 1) if (!on.has(labels[i])) pixels[i] = 0;
  context.putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
