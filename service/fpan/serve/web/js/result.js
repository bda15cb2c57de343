/** What came back for a picture, and which face of it is looked at. */

import { labelMap } from "./rle.js";

/**
 * @typedef {{id: number, name: string, title: string, colour: [number, number, number]}} FaceClass
 * @typedef {{id: number, title: string, colour: [number, number, number], area: number, share: number}} Part
 */

export class Result {
  /** Position in `faces` of the face that is looked at; null for all of them. @type {number | null} */
  #chosen = null;
  /** @type {Uint8Array | null} */
  #labels = null;

  /**
   * @param {any} answer the gateway's JSON
   * @param {FaceClass[]} classes by id
   */
  constructor(answer, classes) {
    this.answer = answer;
    this.classes = classes;
    this.width = answer.image.width;
    this.height = answer.image.height;
    this.faces = answer.faces;
  }

  get chosen() {
    return this.#chosen;
  }

  /** @param {number | null} position of a face, or null for all */
  choose(position) {
    this.#chosen = position;
    this.#labels = null;
  }

  /** The label map of what is looked at, row by row in the picture's own pixels. */
  get labels() {
    this.#labels ??= labelMap(this.#chosen === null ? this.answer.mask : this.faces[this.#chosen].mask);
    return this.#labels;
  }

  /** The faces that are looked at. */
  get seen() {
    return this.#chosen === null ? this.faces : [this.faces[this.#chosen]];
  }

  /** The parts of what is looked at, the largest first, with their share of all of it. @returns {Part[]} */
  get parts() {
    const areas = new Map();
    let whole = 0;
    for (const { id, area } of this.seen.flatMap((face) => face.parts)) {
      areas.set(id, (areas.get(id) ?? 0) + area);
      whole += area;
    }
    return [...areas]
      .map(([id, area]) => ({ ...this.classes[id], area, share: area / whole }))
      .sort((a, b) => b.area - a.area);
  }

  /** What should be said of the faces that are looked at, besides their parts. @returns {string[]} */
  get remarks() {
    const remarks = [...this.answer.notes];
    if (this.seen.length !== 1) return remarks;
    const [face] = this.seen;
    if (face.score !== null) remarks.push(`detector ${percent(face.score)} sure`);
    if (face.occluded >= 0.01) remarks.push(`${percent(face.occluded)} hidden by something`);
    const short = this.classes.filter(({ name }) => face.cut_by_crop.includes(name)).map(({ title }) => title);
    if (short.length > 0) remarks.push(`read only near the face: ${short.join(", ")}`);
    if (face.cut_by_image) remarks.push("cut by the picture’s edge");
    return remarks;
  }
}

/** @param {number} share 0 to 1 */
export const percent = (share) => `${Math.round(share * 100)} %`;

/** Shares below one percent keep a digit. @param {number} share 0 to 1 */
export const finePercent = (share) => (share < 0.0005 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`);

/** @param {[number, number, number]} colour */
export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;
