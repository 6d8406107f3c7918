// Keeps the lamps true while the page is open.

const EVERY_MS = 2000;
const COLOURS = { up: "good", down: "bad", broken: "warn" };

async function look() {
  let states;
  try {
    states = await (await fetch("/lamps")).json();
  } catch {
    return; // the city has stopped; the page says what it last knew
  }
  for (const chip of document.querySelectorAll("[data-lamp]")) {
    const state = states[chip.dataset.lamp];
    if (state && state !== chip.dataset.state) {
      chip.className = `chip ${COLOURS[state]}`;
      chip.textContent = chip.dataset[state];
      chip.dataset.state = state;
    }
  }
}

setInterval(look, EVERY_MS);
