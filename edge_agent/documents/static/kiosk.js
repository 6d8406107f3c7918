"use strict";
/* Keeps the page the state of the visit: asks what changes, and takes over the new screen without a flash.
   Every press works without this file; the screens that wait for a machine do not move without it. */

const PAUSE_MS = 1000;
const parts = ["header", "main", "footer"];
let version = document.body.dataset.version;

const pause = () => new Promise(resolve => setTimeout(resolve, PAUSE_MS));

function showLost(lost) {
  const sentence = document.getElementById("lost");
  if (sentence) sentence.hidden = !lost;
}

async function ask(address, options = {}) {
  const answer = await fetch(address, { cache: "no-store", ...options });
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer;
}

async function show(answer) {
  takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
}

function takeOver(page) {
  const focused = document.activeElement?.value;
  const another = page.body.dataset.screen !== document.body.dataset.screen;
  document.documentElement.lang = page.documentElement.lang;
  document.title = page.title;
  Object.assign(document.body.dataset, page.body.dataset);
  for (const name of parts) {
    const old = document.querySelector(`body > ${name}`);
    const fresh = page.querySelector(`body > ${name}`);
    if (old && fresh) old.replaceWith(fresh);
    else if (old) old.remove();
    else if (fresh) document.body.append(fresh);
  }
  version = page.body.dataset.version;
  if (another) {
    window.scrollTo(0, 0);
    const heading = document.querySelector("h1");
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  } else if (focused) {
    document.querySelector(`button[value="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
}

async function watch() {
  for (;;) {
    try {
      const state = await (await ask(`/state?version=${encodeURIComponent(version)}`)).json();
      if (state.version !== version) await show(await ask("/"));
      showLost(false);
    } catch {
      showLost(true);
      await pause();
    }
  }
}

setInterval(() => {
  for (const seconds of document.querySelectorAll("[data-seconds]")) {
    seconds.dataset.seconds = Math.max(0, Number(seconds.dataset.seconds) - 1);
    seconds.textContent = seconds.dataset.seconds;
  }
}, 1000);

/* A press is sent from here, so that an agent that is just starting again does not leave the browser on an
   error page. One press is one press: a second tap on the same screen is not sent. */
document.addEventListener("submit", async event => {
  const form = event.target;
  event.preventDefault();
  if (form.dataset.sent) return;
  form.dataset.sent = "yes";
  const pressed = new URLSearchParams(new FormData(form));
  if (event.submitter) pressed.set(event.submitter.name, event.submitter.value);
  try {
    await show(await ask(form.action, { method: "POST", body: pressed }));
    showLost(false);
  } catch {
    delete form.dataset.sent;
    showLost(true);
  }
});
window.addEventListener("pageshow", event => { if (event.persisted) location.reload(); });

watch();
