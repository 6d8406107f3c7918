// Live captions: partials into a line of their own, finals into the log, each final once.

const LINES_MAX = 50;
const SIZE_KEY = "fleet-captions-size";
const SIZE_MIN = 1;
const SIZE_MAX = 5;
const AGAIN_MS = 2000;

const live = document.getElementById("live");
const finals = document.getElementById("finals");
const partial = document.getElementById("partial");
const why = document.getElementById("why");
const state = document.getElementById("state");
const stage = document.querySelector(".stage");
let last = Number(live.dataset.last);
let size = 2;
let current = state.textContent;
let good = state.classList.contains("good");

function words(kind, code) {
  return code ? live.getAttribute(`data-${kind}-${code.replaceAll("_", "-")}`) || "" : "";
}

function showState(text, isGood, isBad) {
  if (state.textContent !== text) {
    state.textContent = text; // a status is read aloud: only when it changes
  }
  state.classList.toggle("good", isGood);
  state.classList.toggle("bad", isBad);
}

function showWhy(text) {
  if (why.textContent !== text) {
    why.textContent = text;
  }
  why.hidden = text === "";
}

function place(line) {
  let item = finals.querySelector(`li[data-segment="${line.segment}"]`);
  if (!item) {
    item = document.createElement("li");
    item.dataset.segment = line.segment;
    const next = [...finals.children].find(other => Number(other.dataset.segment) > line.segment);
    finals.insertBefore(item, next || null);
  }
  item.lang = line.lang;
  item.textContent = line.text;
  while (finals.children.length > LINES_MAX) {
    finals.firstElementChild.remove();
  }
}

function clearPartial(segment) {
  if (segment === undefined || Number(partial.dataset.segment || 0) <= segment) {
    partial.textContent = "";
  }
}

function listen() {
  const source = new EventSource(`${live.dataset.events}?after=${last}`);
  source.addEventListener("error", () => {
    live.dataset.connected = "no";
    showState(live.dataset.lost, false, true);
    clearPartial();
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(listen, AGAIN_MS); // the server answered with an error: the browser alone would give up
    }
  });
  source.addEventListener("partial", event => {
    const line = JSON.parse(event.data);
    if (finals.querySelector(`li[data-segment="${line.segment}"]`)) {
      return; // it was late: the line is final already
    }
    partial.lang = line.lang;
    partial.dataset.segment = line.segment;
    partial.textContent = line.text;
    if (line.text) {
      showWhy("");
    }
  });
  source.addEventListener("final", event => {
    const line = JSON.parse(event.data);
    last = Math.max(last, Number(event.lastEventId));
    place(line);
    clearPartial(line.segment);
    if (good) {
      showWhy("");
    }
  });
  source.addEventListener("sitting", event => {
    const news = JSON.parse(event.data);
    live.dataset.connected = "yes";
    current = words("state", news.state);
    good = news.state === "open";
    showState(current, good, false);
    showWhy([words("why", news.silence), news.silence === "closed" ? words("reason", news.reason) : ""].join(" ").trim());
    if (!good) {
      clearPartial();
    }
  });
}

function resize(to) {
  size = Math.min(SIZE_MAX, Math.max(SIZE_MIN, to));
  stage.style.setProperty("--size", `${size}rem`);
  try {
    localStorage.setItem(SIZE_KEY, String(size));
  } catch {
    // storage is switched off: the size lasts for this page
  }
}

try {
  resize(Number(localStorage.getItem(SIZE_KEY)) || (innerWidth < 640 ? 1.5 : innerWidth < 1000 ? 2 : 2.5));
} catch {
  resize(2);
}
document.getElementById("smaller").addEventListener("click", () => resize(size - 0.5));
document.getElementById("larger").addEventListener("click", () => resize(size + 0.5));
listen();
