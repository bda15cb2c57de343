/** The page: a photo comes in, its parts are shown, downloads go out. */

import { drawn, labels, parse, useKeyDialog } from "./api.js";
import { watchDownloads } from "./downloads.js";
import { showFaces } from "./faces.js";
import { watchIntake } from "./intake.js";
import { askForKey } from "./keydialog.js";
import { Parts } from "./parts.js";
import { decode } from "./picture.js";
import { complain, noComplaint } from "./problem.js";
import { Result } from "./result.js";
import { Viewer } from "./viewer.js";

const NO_FACE_HINT = "Try a photo in which the face is larger, in better light or less covered.";
const element = (id) => document.getElementById(id);

/** @type {{photo: File, result: Result, painted: boolean} | null} */
let seen = null;
/** @type {AbortController | null} */
let running = null;

const viewer = new Viewer((id) => parts.light(id));
const parts = new Parts(
  (on) => {
    viewer.on = on;
    element("save-cutout").disabled = on.size === 0;
  },
  (id) => viewer.light(id, true),
);

function goTo(view) {
  element("start").hidden = view !== "start";
  element("work").hidden = view !== "work";
  element("again").hidden = view !== "work";
}

function setBusy(busy) {
  viewer.busy = busy;
  element("cancel").hidden = !busy;
  element("panel").inert = busy;
  element("panel").classList.toggle("waiting", busy);
  element("work").setAttribute("aria-busy", String(busy));
}

/** Headline, remarks and list for the faces that are looked at. */
function describe() {
  const { result, painted } = seen;
  const count = result.faces.length;
  const title = count === 0 ? "No face found" : count === 1 ? "One face" : `${count} faces`;
  element("found").textContent = title;
  const remarks = count === 0 ? [result.answer.reason ?? "", NO_FACE_HINT, ...result.remarks] : result.remarks;
  if (painted) remarks.push("drawn by the service, for this browser cannot show this kind of picture");
  element("found-more").textContent = remarks.filter(Boolean).join(count === 0 ? " " : " · ");
  element("parts-card").hidden = count === 0;
  parts.show(result.parts, painted);
}

function describeService({ model, image, timing_ms: timing, request_id: id }) {
  const stages = Object.entries(timing).filter(([stage]) => stage !== "total");
  const total = timing.total ?? stages.reduce((sum, [, ms]) => sum + ms, 0);
  element("figures").textContent =
    `${image.width} × ${image.height} pixels read in ${Math.round(total)} ms by ${model.name} ${model.version}. Request ${id}.`;
}

function choose(position) {
  seen.result.choose(position);
  viewer.refresh();
  describe();
  element("status").textContent = position === null ? "All faces" : `Face ${position + 1}`;
}

async function reveal(photo, answer, classes, bitmapShown, signal) {
  const result = new Result(answer, classes);
  if (!bitmapShown) {
    const bitmap = await decode(await drawn(photo, "overlay", signal));
    viewer.show(bitmap);
    bitmap.close();
  }
  const painted = !bitmapShown;
  await viewer.reveal(result, painted);
  if (signal.aborted) return;
  seen = { photo, result, painted };
  element("opacity").disabled = painted;
  showFaces(result.faces, (canvas, box) => viewer.thumbnail(canvas, box), choose);
  describe();
  describeService(answer);
  setBusy(false);
  const { textContent } = element("found");
  element("status").textContent = textContent;
  element("found").focus({ preventScroll: true });
}

/** Show the photo as soon as the browser has read it. @returns {Promise<boolean>} whether it can */
async function preview(photo, signal) {
  const bitmap = await decode(photo);
  if (bitmap && !signal.aborted) viewer.show(bitmap);
  bitmap?.close();
  return bitmap !== null;
}

/** @param {File} photo */
async function take(photo) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  seen = null;
  noComplaint();
  viewer.clear();
  goTo("work");
  setBusy(true);
  element("found").textContent = "Reading the photo…";
  element("found-more").textContent = "";
  element("status").textContent = "Reading the photo";
  element("found").focus({ preventScroll: true });
  try {
    const [shown, { classes }, answer] = await Promise.all([preview(photo, signal), labels(), parse(photo, signal)]);
    if (!signal.aborted) await reveal(photo, answer, classes, shown, signal);
  } catch (error) {
    if (signal.aborted) return;
    running.abort();
    goTo("start");
    element("status").textContent = "";
    complain(error, () => take(photo));
  }
}

element("opacity").addEventListener("input", ({ target }) => {
  element("opacity-value").textContent = `${target.value} %`;
  viewer.opacity = target.valueAsNumber / 100;
});
element("cancel").addEventListener("click", () => {
  running.abort();
  goTo("start");
  element("status").textContent = "Cancelled";
  document.querySelector("#start [data-take=file]").focus();
});

useKeyDialog(askForKey);
watchIntake(take, complain);
watchDownloads(() => ({ ...seen, on: parts.on }), complain);
