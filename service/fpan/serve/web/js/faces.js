/** The list of faces: all of them, or one alone. Hidden where there is no choice. */

const THUMBNAIL_PX = 84; // twice its size on the page, for sharp screens

const field = document.getElementById("faces");
const list = document.getElementById("face-list");

function choice(position, name, content) {
  const label = document.createElement("label");
  label.className = position === null ? "face all" : "face";
  const input = document.createElement("input");
  input.type = "radio";
  input.name = "face";
  input.checked = position === null;
  input.setAttribute("aria-label", name);
  const body = document.createElement("span");
  body.append(...content);
  label.append(input, body);
  return { label, input };
}

/**
 * @param {any[]} faces of the answer
 * @param {(canvas: HTMLCanvasElement, box: number[]) => void} thumbnail draws a box of the photo
 * @param {(position: number | null) => void} chosen is told the face, or null for all
 */
export function showFaces(faces, thumbnail, chosen) {
  field.hidden = faces.length < 2;
  const choices = [null, ...faces.keys()].map((position) => {
    if (position === null) return { position, ...choice(null, `All ${faces.length} faces`, ["All"]) };
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = THUMBNAIL_PX;
    thumbnail(canvas, faces[position].box);
    return { position, ...choice(position, `Face ${position + 1}`, [canvas, String(position + 1)]) };
  });
  for (const { position, input } of choices) input.addEventListener("change", () => chosen(position));
  list.replaceChildren(...choices.map(({ label }) => label));
}
