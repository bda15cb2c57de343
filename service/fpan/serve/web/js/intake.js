/** The ways in: a dropped, chosen, pasted or taken photo. */

import { Problem } from "./api.js";
import { takePhoto } from "./camera.js";

const HOW_TO_PASTE = "Copy a picture first, then press Ctrl V (⌘ V on a Mac) anywhere on this page.";

const picker = /** @type {HTMLInputElement} */ (document.getElementById("file"));
const veil = document.getElementById("veil");

/** @param {DataTransfer | null} transfer */
const fileIn = (transfer) => transfer?.files?.[0] ?? null;

/** The picture in the clipboard. @returns {Promise<File>} */
async function pasted() {
  const word = (detail) => new Problem(0, "Nothing to paste", detail, { next: HOW_TO_PASTE });
  if (!navigator.clipboard?.read) throw word("This browser gives the clipboard only to the keyboard shortcut.");
  let items;
  try {
    items = await navigator.clipboard.read();
  } catch {
    throw word("The browser was not allowed to read the clipboard.");
  }
  for (const item of items) {
    const type = item.types.find((t) => t.startsWith("image/"));
    if (type) return new File([await item.getType(type)], "pasted", { type });
  }
  throw word("The clipboard holds no picture.");
}

/**
 * Watch every way in.
 * @param {(photo: File) => void} take gets each photo
 * @param {(problem: unknown) => void} complain gets what went wrong
 */
export function watchIntake(take, complain) {
  const ways = {
    file: () => picker.click(),
    camera: async () => {
      const photo = await takePhoto();
      if (photo) take(photo);
    },
    paste: async () => take(await pasted()),
  };
  for (const button of document.querySelectorAll("[data-take]")) {
    button.addEventListener("click", async () => {
      try {
        await ways[button.dataset.take]();
      } catch (error) {
        complain(error);
      }
    });
  }
  picker.addEventListener("change", () => {
    const [photo] = picker.files;
    picker.value = "";
    if (photo) take(photo);
  });

  document.addEventListener("paste", (event) => {
    const photo = fileIn(event.clipboardData);
    if (!photo) return;
    event.preventDefault();
    take(photo);
  });

  let depth = 0; // dragenter and dragleave come once for every element that is crossed
  const lift = () => {
    depth = 0;
    veil.hidden = true;
  };
  document.addEventListener("dragenter", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    depth += 1;
    veil.hidden = false;
  });
  document.addEventListener("dragleave", () => {
    if (depth > 0) depth -= 1;
    veil.hidden = depth === 0;
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    lift();
    const photo = fileIn(event.dataTransfer);
    if (photo) take(photo);
  });
}
