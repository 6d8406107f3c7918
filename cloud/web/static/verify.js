// Compares a chosen PDF with the document that was issued, in the browser: the file never leaves the device.
"use strict";

const FILE_BYTES_MAX = 50_000_000;
const form = document.getElementById("compare");

function show(outcome) {
  for (const each of document.querySelectorAll("[data-compared]")) {
    each.hidden = each.dataset.compared !== outcome;
  }
}

async function compare(file) {
  if (!file || file.size === 0) {
    return "missing";
  }
  if (file.size > FILE_BYTES_MAX) {
    return "different";
  }
  try {
    const digest = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
    const hex = [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, "0")).join("");
    return hex === form.dataset.sha256 ? "same" : "different";
  } catch {
    return "unreadable";
  }
}

// Browsers give SubtleCrypto to secure pages only; without it the form is sent as it is.
if (form && globalThis.crypto && crypto.subtle) {
  form.querySelector("[data-local]").hidden = false;
  form.querySelector("[data-remote]").hidden = true;
  const input = form.elements.file;
  const turn = async () => show(await compare(input.files[0]));
  form.addEventListener("submit", event => {
    event.preventDefault();
    turn();
  });
  input.addEventListener("change", turn);
}
