/** The picture on the page: the overlay of parts, and the probe that reads one point of it. */

import { greys, resample, viewSize } from "./picture.js";
import { css, percent } from "./result.js";

const STEPS_ACROSS = 100; // an arrow key goes a hundredth of the longer side, with Shift ten times that
const SHIFT_FACTOR = 10;
const DIMMED = 0.3; // what is left of the other parts while one is pointed out
const LIT_ALPHA = 0.8; // least opacity of the part that is pointed out
const OUTLINE_CSS_PX = 1.5;
const OUTLINE = 0xffffffff;
const BESIDE_PX = 20; // from the point to its label
const READ_AFTER_MS = 250; // so that a screen reader is not flooded while a key is held
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const element = (id) => document.getElementById(id);

export class Viewer {
  #stage = element("stage");
  #photo = /** @type {HTMLCanvasElement} */ (element("photo"));
  #overlay = /** @type {HTMLCanvasElement} */ (element("overlay"));
  #ring = element("ring");
  #probe = element("probe");
  #reading = element("reading");
  #timer = 0;

  /** @type {import("./result.js").Result | null} */
  #result = null;
  #size = { width: 1, height: 1 };
  #labels = new Uint8Array(1);
  /** Grey values, 255 = certain; null when the service sent none. @type {Uint8Array | null} */
  #confidence = null;
  #on = new Set();
  #opacity = 0.6;
  /** Whether the service has painted the parts into the picture itself. */
  #painted = false;
  /** @type {{id: number, alone: boolean} | null} */
  #lit = null;
  /** Where the probe is, in pixels of the view. @type {{x: number, y: number} | null} */
  #at = null;

  /** @param {(id: number | null) => void} pointed is told the class below the probe */
  constructor(pointed) {
    this.pointed = pointed;
    const canvas = this.#overlay;
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      this.#move(
        ((event.clientX - box.left) / box.width) * this.#size.width,
        ((event.clientY - box.top) / box.height) * this.#size.height,
        event.pointerType !== "mouse",
      );
    };
    canvas.addEventListener("pointermove", point);
    canvas.addEventListener("pointerdown", point);
    canvas.addEventListener("pointerleave", (event) => {
      if (event.pointerType === "mouse") this.#leave();
    });
    canvas.addEventListener("focus", () => {
      if (canvas.matches(":focus-visible")) this.#moveToFace();
    });
    canvas.addEventListener("blur", () => this.#leave());
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  /**
   * Show a picture alone, with nothing known of it yet.
   * @param {ImageBitmap} bitmap
   */
  show(bitmap) {
    this.#fit(bitmap.width, bitmap.height);
    const context = this.#photo.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, this.#size.width, this.#size.height);
  }

  /** Forget picture and parts. */
  clear() {
    this.#result = null;
    this.#leave();
    this.#fit(4, 3);
  }

  /** @param {boolean} busy */
  set busy(busy) {
    this.#stage.classList.toggle("busy", busy);
    this.#stage.classList.remove("fresh");
  }

  /**
   * Lay the parts over the picture that is shown.
   * @param {import("./result.js").Result} result
   * @param {boolean} painted whether the picture has them in it already
   */
  async reveal(result, painted) {
    const { confidence } = result.answer;
    this.#confidence = confidence ? await greys(confidence.data, viewSize(result.width, result.height)) : null;
    this.#result = result;
    this.#painted = painted;
    this.refresh();
    this.#stage.classList.add("fresh");
  }

  /** Take up that another face is looked at. */
  refresh() {
    const { labels, width, height } = this.#result;
    this.#labels = resample(labels, width, height, this.#size);
    this.#lit = null;
    this.#draw();
  }

  /** @param {Set<number>} on ids of the classes that are painted */
  set on(on) {
    this.#on = on;
    this.#draw();
  }

  /** @param {number} opacity 0 to 1 */
  set opacity(opacity) {
    this.#opacity = opacity;
    this.#draw();
  }

  /**
   * Point a part out.
   * @param {number | null} id
   * @param {boolean} alone whether the others step back
   */
  light(id, alone = false) {
    this.#lit = id === null ? null : { id, alone };
    this.#draw();
  }

  /** A small round picture of a box of the photo. @param {HTMLCanvasElement} canvas @param {number[]} box */
  thumbnail(canvas, [x0, y0, x1, y1]) {
    const scale = this.#size.width / this.#result.width;
    const side = Math.max(x1 - x0, y1 - y0) * 1.25 * scale;
    const x = ((x0 + x1) / 2) * scale - side / 2;
    const y = ((y0 + y1) / 2) * scale - side / 2;
    canvas.getContext("2d").drawImage(this.#photo, x, y, side, side, 0, 0, canvas.width, canvas.height);
  }

  #fit(width, height) {
    this.#size = viewSize(width, height);
    for (const canvas of [this.#photo, this.#overlay]) Object.assign(canvas, this.#size);
    this.#stage.style.setProperty("--ratio", String(width / height));
  }

  #draw() {
    if (!this.#result) return;
    const { width, height } = this.#size;
    const context = this.#overlay.getContext("2d");
    const image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const table = this.#table();
    for (let i = 0; i < pixels.length; i += 1) pixels[i] = table[this.#labels[i]];
    if (this.#lit) this.#outline(pixels, this.#lit.id);
    context.putImageData(image, 0, 0);
  }

  /** What each label is painted as: alpha, blue, green, red in one number. */
  #table() {
    const table = new Uint32Array(256);
    if (this.#painted) return table;
    const lit = this.#lit;
    for (const { id, colour } of this.#result.classes.slice(1)) {
      let alpha = this.#on.has(id) ? this.#opacity : 0;
      if (lit?.alone) alpha = lit.id === id ? Math.max(this.#opacity, LIT_ALPHA) : alpha * DIMMED;
      const [r, g, b] = colour;
      table[id] = ((Math.round(alpha * 255) << 24) | (b << 16) | (g << 8) | r) >>> 0;
    }
    return table;
  }

  /** A white line along the inner edge of a part. */
  #outline(pixels, id) {
    const { width, height } = this.#size;
    const labels = this.#labels;
    const shown = this.#overlay.clientWidth || width;
    const thick = Math.max(1, Math.round((OUTLINE_CSS_PX * width) / shown));
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const i = y * width + x;
        if (labels[i] !== id) continue;
        const inside =
          x >= thick && x < width - thick && y >= thick && y < height - thick &&
          labels[i - thick] === id && labels[i + thick] === id &&
          labels[i - thick * width] === id && labels[i + thick * width] === id;
        if (!inside) pixels[i] = OUTLINE;
      }
    }
  }

  #key(event) {
    if (event.key === "Escape") {
      this.#leave();
      return;
    }
    const move = MOVES[event.key];
    if ((!move && event.key !== "Home") || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    if (!move || !this.#at) {
      this.#moveToFace();
      return;
    }
    const longer = Math.max(this.#size.width, this.#size.height);
    const step = (longer / STEPS_ACROSS) * (event.shiftKey ? SHIFT_FACTOR : 1);
    this.#move(this.#at.x + move[0] * step, this.#at.y + move[1] * step, true);
  }

  /** The middle of the first face that is looked at, or of the picture. */
  #moveToFace() {
    const box = this.#result?.seen[0]?.box;
    const scale = this.#result ? this.#size.width / this.#result.width : 1;
    const [x, y] = box
      ? [((box[0] + box[2]) / 2) * scale, ((box[1] + box[3]) / 2) * scale]
      : [this.#size.width / 2, this.#size.height / 2];
    this.#move(x, y, true);
  }

  /** Put the probe at a point, in pixels of the view. */
  #move(toX, toY, aloud) {
    if (!this.#result) return;
    const { width, height } = this.#size;
    const x = Math.min(Math.max(toX, 0), width - 1);
    const y = Math.min(Math.max(toY, 0), height - 1);
    this.#at = { x, y };
    const i = Math.floor(y) * width + Math.floor(x);
    const { id, title, colour } = this.#result.classes[this.#labels[i]];
    const sure = id !== 0 && this.#confidence ? percent(this.#confidence[i] / 255) : "";

    this.#probe.hidden = this.#ring.hidden = false;
    this.#probe.querySelector("i").style.background = css(colour);
    this.#probe.querySelector("span").textContent = sure ? `${title} · ${sure}` : title;
    for (const mark of [this.#ring, this.#probe]) {
      mark.style.left = `${(x / width) * 100}%`;
      mark.style.top = `${(y / height) * 100}%`;
    }
    const room = this.#stage.clientWidth;
    const across = this.#probe.offsetWidth;
    const point = (x / width) * room;
    const right = point + BESIDE_PX;
    const left = right + across > room ? point - BESIDE_PX - across : right;
    this.#probe.style.left = `${Math.max(0, Math.min(left, room - across))}px`;

    clearTimeout(this.#timer);
    if (aloud) {
      this.#timer = setTimeout(() => {
        this.#reading.textContent = sure ? `${title}, ${sure} sure` : title;
      }, READ_AFTER_MS);
    }
    const lit = id === 0 || !this.#on.has(id) ? null : id;
    if (lit !== (this.#lit?.id ?? null)) {
      this.light(lit);
      this.pointed(lit);
    }
  }

  #leave() {
    clearTimeout(this.#timer);
    this.#at = null;
    this.#probe.hidden = this.#ring.hidden = true;
    this.#reading.textContent = "";
    if (this.#lit) {
      this.light(null);
      this.pointed(null);
    }
  }
}
