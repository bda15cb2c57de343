/**
 * COCO's run-length masks: runs down the columns, beginning with a run of zeros, written as pycocotools writes them
 * (base 32 digits from "0" on, bit 5 says "more follows", differences to the run before last from the fourth run on).
 */

const DIGITS_OF_A_RUN = 6; // 30 bits hold every run of a picture of less than 2 ** 29 pixels

/**
 * The lengths of the runs that `text` holds.
 * @param {string} text
 * @returns {number[]}
 */
export function runs(text) {
  const lengths = [];
  let at = 0;
  while (at < text.length) {
    let value = 0;
    let digit = 0;
    let more = true;
    while (more) {
      if (at === text.length || digit === DIGITS_OF_A_RUN) throw new Error("the mask's runs are cut short or too long");
      const code = text.charCodeAt(at) - 48;
      if (code < 0 || code > 63) throw new Error("the mask's runs hold a character that is none of theirs");
      value |= (code & 31) << (5 * digit);
      more = (code & 32) !== 0;
      at += 1;
      digit += 1;
      if (!more && code & 16) value |= -1 << (5 * digit);
    }
    lengths.push(lengths.length > 2 ? value + lengths[lengths.length - 2] : value);
  }
  return lengths;
}

/**
 * Write `id` into `labels` wherever the mask is one.
 * @param {string} text the mask's runs
 * @param {number} id
 * @param {Uint8Array} labels row by row, width * height
 * @param {number} width in pixels
 * @param {number} height in pixels
 */
export function paint(text, id, labels, width, height) {
  const end = width * height;
  let at = 0;
  let inside = false;
  for (const length of runs(text)) {
    if (length < 0 || at + length > end) throw new Error("the mask does not fit its picture");
    if (inside) {
      let x = Math.floor(at / height);
      let y = at - x * height;
      for (let left = length; left > 0; left -= 1) {
        labels[y * width + x] = id;
        y += 1;
        if (y === height) {
          y = 0;
          x += 1;
        }
      }
    }
    at += length;
    inside = !inside;
  }
  if (at !== end) throw new Error("the mask does not fill its picture");
}

/**
 * The label map that a mask of several classes describes.
 * @param {{size: [number, number], classes: {id: number, counts: string}[]}} mask
 * @returns {Uint8Array} row by row, width * height; 0 where no class is
 */
export function labelMap(mask) {
  const [height, width] = mask.size;
  const labels = new Uint8Array(width * height);
  for (const { id, counts } of mask.classes) paint(counts, id, labels, width, height);
  return labels;
}
