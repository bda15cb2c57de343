/** Saving what is seen: label map, cut-out, everything. All made here, so the photo is not sent a second time. */

import { Problem, drawn } from "./api.js";
import { cutOut, decode } from "./picture.js";
import { indexedPng } from "./png.js";

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // long enough for the slowest save dialog to begin
}

/** The photo's name without its ending, and with the face that is looked at. */
function stem(photo, result) {
  const base = photo.name.replace(/\.[^.]*$/, "") || "photo";
  return result.chosen === null ? base : `${base}.face${result.chosen + 1}`;
}

/** A browser that cannot read the photo lets the service cut. */
async function cutOutOf(photo, result, on) {
  const bitmap = await decode(photo);
  if (!bitmap) return drawn(photo, "cutout");
  try {
    if (bitmap.width !== result.width || bitmap.height !== result.height) {
      throw new Problem(0, "No cut-out", "The browser reads this picture at another size than the service does.", {
        next: "Save the picture as PNG or JPEG, then drop it again.",
      });
    }
    return await cutOut(bitmap, result.labels, on);
  } finally {
    bitmap.close();
  }
}

/**
 * @param {() => {photo: File, result: import("./result.js").Result, on: Set<number>}} present what is seen
 * @param {(problem: unknown) => void} complain
 */
export function watchDownloads(present, complain) {
  const ways = {
    "save-png": async ({ photo, result }) => {
      const { labels, width, height, classes } = result;
      const colours = classes.map(({ colour }) => colour);
      save(await indexedPng(labels, width, height, colours), `${stem(photo, result)}.labels.png`);
    },
    "save-cutout": async ({ photo, result, on }) => {
      save(await cutOutOf(photo, result, on), `${stem(photo, result)}.cutout.png`);
    },
    "save-json": ({ photo, result }) => {
      const json = new Blob([JSON.stringify(result.answer)], { type: "application/json" });
      save(json, `${photo.name.replace(/\.[^.]*$/, "") || "photo"}.json`);
    },
  };
  for (const [id, way] of Object.entries(ways)) {
    const button = /** @type {HTMLButtonElement} */ (document.getElementById(id));
    button.addEventListener("click", async () => {
      try {
        await way(present());
      } catch (error) {
        complain(error);
      }
    });
  }
}
