/** The gateway's API on this origin: what is asked, what comes back, and what goes wrong in words. */

const KEY_NAME = "fpan-api-key";
const JSON_TYPE = "application/json";
const ANY_BYTES = "application/octet-stream";

/** What to do next, by status; 0 is no answer at all. */
const NEXT = {
  0: "See whether the service is running and this device is on its network, then try again. A very large file may also have been refused while it was being sent.",
  400: "Try another picture: JPEG, PNG, WebP, AVIF, HEIC, GIF and TIFF are read.",
  401: "Give a key that this service knows.",
  403: "This key may not do that. Try again with another one.",
  404: "This page and the service may be of different versions. Reload the page.",
  413: "Save the picture smaller or with fewer pixels, then drop it again.",
  415: "Try another picture: JPEG, PNG, WebP, AVIF, HEIC, GIF and TIFF are read.",
  422: "The file may be damaged or cut short. Open it, save it again, and drop the new one.",
  429: "Many pictures are being read right now. Wait a moment and try again.",
  503: "The service is starting, stopping or busy. Wait a moment and try again.",
  504: "It took too long. Try again, or with a smaller picture.",
};
const NEXT_OTHERWISE = "Try again. If it stays, give the number below to whoever runs this service.";

/** Something that the person at the page should read. */
export class Problem extends Error {
  /**
   * @param {number} status of HTTP; 0 where no answer came
   * @param {string} title
   * @param {string} detail
   * @param {{next?: string, requestId?: string, retryAfter?: string | null}} [more]
   */
  constructor(status, title, detail, more = {}) {
    super(title);
    this.name = "Problem";
    this.status = status;
    this.detail = detail;
    this.requestId = more.requestId ?? "";
    this.next = more.next ?? NEXT[status] ?? NEXT_OTHERWISE;
    if (/^\d+$/.test(more.retryAfter ?? "")) this.next += ` (The service suggests ${more.retryAfter} s.)`;
  }
}

/** The key dialog; `main.js` puts it here. @type {(refused: boolean) => Promise<string | null>} */
let askForKey = async () => null;

/** @param {(refused: boolean) => Promise<string | null>} ask gives the key, or null when the person gives none */
export function useKeyDialog(ask) {
  askForKey = ask;
}

/** @param {Response} response one that is not ok */
async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  const title = typeof problem.title === "string" ? problem.title : `The service answered ${response.status}`;
  const detail = typeof problem.detail === "string" ? problem.detail : "";
  const requestId = problem.request_id ?? response.headers.get("x-request-id") ?? "";
  return new Problem(response.status, title, detail, { requestId, retryAfter: response.headers.get("retry-after") });
}

/**
 * Ask, with the key when there is one; ask the person for a key as long as the service wants one.
 * @param {string} path relative to the page
 * @param {RequestInit} init
 * @returns {Promise<Response>}
 */
async function ask(path, init) {
  for (;;) {
    const key = sessionStorage.getItem(KEY_NAME);
    const headers = { ...init.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    let response;
    try {
      response = await fetch(new URL(path, document.baseURI), { ...init, headers });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new Problem(0, "No answer from the service", "The connection could not be made or was closed.");
    }
    if (response.ok) return response;
    if (response.status === 403 && sessionStorage.getItem(KEY_NAME) === key) sessionStorage.removeItem(KEY_NAME);
    if (response.status !== 401) throw await problemOf(response);
    if (sessionStorage.getItem(KEY_NAME) !== key) continue; // another request has asked in the meantime
    sessionStorage.removeItem(KEY_NAME);
    const given = await askForKey(key !== null);
    if (given === null) throw await problemOf(response);
    sessionStorage.setItem(KEY_NAME, given);
  }
}

/** @param {Blob} picture */
const typeOf = (picture) => (picture.type.startsWith("image/") ? picture.type : ANY_BYTES);

/** The classes with their titles, colours and groups. */
export async function labels() {
  return (await ask("v1/labels", { headers: { Accept: JSON_TYPE } })).json();
}

/**
 * Everything about a picture; its bytes go as they are.
 * @param {Blob} picture
 * @param {AbortSignal} signal
 */
export async function parse(picture, signal) {
  const headers = { Accept: JSON_TYPE, "Content-Type": typeOf(picture) };
  return (await ask("v1/parse?output=rle,confidence", { method: "POST", body: picture, headers, signal })).json();
}

/**
 * A picture that the service draws.
 * @param {Blob} picture
 * @param {"overlay" | "cutout"} output
 * @param {AbortSignal} [signal]
 * @returns {Promise<Blob>} a PNG
 */
export async function drawn(picture, output, signal) {
  const headers = { Accept: "image/png", "Content-Type": typeOf(picture) };
  return (await ask(`v1/parse?output=${output}`, { method: "POST", body: picture, headers, signal })).blob();
}
