/** The list of parts: what each is called, how much of it there is, and whether it is painted. */

import { css, finePercent } from "./result.js";

const DARK_TICK = "#16181a";
const LIGHT_TICK = "#ffffff";
const LIGHT_FROM = 0.33; // relative luminance from which a dark tick is the easier one to see

const SVG = "http://www.w3.org/2000/svg";
const list = document.getElementById("parts");

/** Relative luminance of an sRGB colour, 0 to 1 (WCAG 2). @param {[number, number, number]} colour */
function luminance(colour) {
  const [r, g, b] = colour.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function tick() {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", "#i-check");
  svg.append(use);
  return svg;
}

function text(kind, words) {
  const span = document.createElement("span");
  span.className = kind;
  span.textContent = words;
  return span;
}

export class Parts {
  /** Classes that a person has switched off; kept from one face and picture to the next. */
  #off = new Set();
  /** @type {import("./result.js").Part[]} */
  #parts = [];
  #disabled = false;

  /**
   * @param {(on: Set<number>) => void} changed is told the ids that are on
   * @param {(id: number | null) => void} pointed is told the part that pointer or focus is on
   */
  constructor(changed, pointed) {
    this.changed = changed;
    this.pointed = pointed;
    document.getElementById("parts-all").addEventListener("click", () => this.#setAll(true));
    document.getElementById("parts-none").addEventListener("click", () => this.#setAll(false));
  }

  /** Ids of the parts that are on. @returns {Set<number>} */
  get on() {
    return new Set(this.#parts.map(({ id }) => id).filter((id) => !this.#off.has(id)));
  }

  /**
   * @param {import("./result.js").Part[]} parts
   * @param {boolean} disabled whether they can be switched
   */
  show(parts, disabled) {
    this.#parts = parts;
    this.#disabled = disabled;
    list.replaceChildren(...parts.map((part) => this.#row(part)));
    for (const id of ["parts-all", "parts-none"]) document.getElementById(id).disabled = disabled;
    this.changed(this.on);
  }

  /** Mark the row of the part below the probe. @param {number | null} id */
  light(id) {
    for (const row of list.children) row.classList.toggle("lit", Number(row.dataset.id) === id && id !== null);
  }

  #row(part) {
    const row = document.createElement("li");
    row.className = "part";
    row.dataset.id = String(part.id);
    const label = document.createElement("label");
    label.style.setProperty("--colour", css(part.colour));
    label.style.setProperty("--tick", luminance(part.colour) > LIGHT_FROM ? DARK_TICK : LIGHT_TICK);
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = !this.#off.has(part.id);
    box.disabled = this.#disabled;
    box.addEventListener("change", () => {
      if (box.checked) this.#off.delete(part.id);
      else this.#off.add(part.id);
      this.pointed(null); // so that the change is seen although pointer or focus is still here
      this.changed(this.on);
    });
    label.append(box, text("name", part.title), text("share", finePercent(part.share)), tick());
    row.append(label);
    row.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse") this.pointed(part.id);
    });
    row.addEventListener("pointerleave", () => this.pointed(null));
    box.addEventListener("focus", () => {
      if (box.matches(":focus-visible")) this.pointed(part.id);
    });
    box.addEventListener("blur", () => this.pointed(null));
    return row;
  }

  #setAll(on) {
    for (const { id } of this.#parts) {
      if (on) this.#off.delete(id);
      else this.#off.add(id);
    }
    for (const box of list.querySelectorAll("input")) box.checked = on;
    this.changed(this.on);
  }
}
