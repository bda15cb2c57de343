/** The camera: live picture, shutter, cancel, and a clear word when there is none. */

import { Problem } from "./api.js";

const JPEG_QUALITY = 0.95;
const WANTED = { video: { facingMode: "user", width: { ideal: 1920 }, height: { ideal: 1440 } }, audio: false };

const WORDS = {
  NotAllowedError: "The browser was not allowed to use the camera. Allow it in the site’s settings, beside the address, then try again.",
  NotFoundError: "No camera was found. Plug one in, or choose a photo instead.",
  NotReadableError: "The camera is in use by another program. Close that one, then try again.",
};
const WORDS_OTHERWISE = "The camera could not be started. Choose a photo instead.";
const INSECURE =
  "Browsers give the camera only to pages opened over https or on localhost, and this one is neither. Choose a photo instead.";

const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("camera"));
const video = /** @type {HTMLVideoElement} */ (document.getElementById("video"));
const shutter = /** @type {HTMLButtonElement} */ (document.getElementById("shutter"));
const word = document.getElementById("camera-word");
const preview = video.parentElement;

/** @type {MediaStream | null} */
let stream = null;

function say(text) {
  word.textContent = text;
  preview.classList.toggle("off", text !== "");
}

async function start() {
  if (!navigator.mediaDevices?.getUserMedia) {
    say(INSECURE);
    return;
  }
  try {
    const started = await navigator.mediaDevices.getUserMedia(WANTED);
    if (!dialog.open) {
      for (const track of started.getTracks()) track.stop();
      return;
    }
    stream = started;
    video.classList.toggle("mirror", stream.getVideoTracks()[0].getSettings().facingMode !== "environment");
    video.srcObject = stream;
    await video.play();
    shutter.disabled = false;
    shutter.focus();
  } catch (error) {
    if (dialog.open) say(WORDS[error.name] ?? WORDS_OTHERWISE);
  }
}

function stop() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  video.srcObject = null;
  shutter.disabled = true;
}

/** The present frame, not mirrored. @returns {Promise<Blob>} */
async function frame() {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
}

/**
 * Let the person take a photo.
 * @returns {Promise<File | null>} null when they cancel
 */
export function takePhoto() {
  return new Promise((done, fail) => {
    let photo = null;
    const shoot = async () => {
      shutter.disabled = true;
      try {
        photo = new File([await frame()], "camera.jpg", { type: "image/jpeg" });
      } catch {
        fail(new Problem(0, "No photo was taken", "The camera gave no picture.", { next: "Try again." }));
      }
      dialog.close();
    };
    shutter.addEventListener("click", shoot);
    dialog.addEventListener(
      "close",
      () => {
        shutter.removeEventListener("click", shoot);
        stop();
        done(photo);
      },
      { once: true },
    );
    say("");
    dialog.showModal();
    start();
  });
}

document.getElementById("camera-cancel").addEventListener("click", () => dialog.close());
