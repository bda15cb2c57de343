/** The small dialog that asks for an API key. */

const dialog = /** @type {HTMLDialogElement} */ (document.getElementById("key"));
const field = /** @type {HTMLInputElement} */ (document.getElementById("key-value"));

const why = document.getElementById("key-why");

/** The question that is open; several requests that are refused at once share it. @type {Promise<string | null> | null} */
let open = null;

/**
 * @param {boolean} refused whether a key was sent and not accepted
 * @returns {Promise<string | null>} the key, or null when the person cancels
 */
export function askForKey(refused) {
  if (refused || !open) {
    why.textContent = refused ? "The key was not accepted. Check it and try again." : "Whoever runs it can give you one.";
    field.setAttribute("aria-invalid", String(refused));
  }
  open ??= new Promise((answer) => {
    field.value = "";
    dialog.returnValue = "";
    dialog.showModal();
    dialog.addEventListener(
      "close",
      () => {
        open = null;
        answer(dialog.returnValue === "given" ? field.value.trim() : null);
        field.value = "";
      },
      { once: true },
    );
  });
  return open;
}

document.getElementById("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  dialog.close(field.value.trim() ? "given" : "");
});
document.getElementById("key-cancel").addEventListener("click", () => dialog.close(""));
