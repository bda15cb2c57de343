/** The banner that says what went wrong and what to do next. */

import { Problem } from "./api.js";

const element = (id) => document.getElementById(id);
const banner = element("problem");

/** @type {(() => void) | null} */
let again = null;

function write(id, words) {
  element(id).textContent = words;
  element(id).hidden = words === "";
}

/**
 * @param {unknown} error
 * @param {(() => void) | null} retry what "Try again" does; null where there is nothing to repeat
 */
export function complain(error, retry = null) {
  const problem =
    error instanceof Problem ? error : new Problem(-1, "The page could not do that", String(error), { next: "Reload the page and try again." });
  write("problem-title", problem.message);
  write("problem-detail", problem.detail);
  write("problem-next", problem.next);
  write("problem-id", problem.requestId ? `Request ${problem.requestId}` : "");
  again = retry;
  element("retry").hidden = retry === null;
  banner.hidden = false;
  banner.scrollIntoView({ block: "nearest" });
}

export function noComplaint() {
  banner.hidden = true;
}

element("dismiss").addEventListener("click", noComplaint);
element("retry").addEventListener("click", () => again?.());
