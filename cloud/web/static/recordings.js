// Text in step with the sound: the line that is spoken is marked, a line that is chosen is played.

const sound = document.getElementById("sound");
const list = document.getElementById("lines");
const follow = document.getElementById("follow");

function lineAt(lines, ms) {
  let low = 0;
  let high = lines.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lines[middle].start <= ms) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const found = lines[low - 1];
  return found && ms < Math.max(found.end, found.start + 1) ? found : null;
}

function step(lines) {
  let shown = null;
  return () => {
    const found = lineAt(lines, sound.currentTime * 1000);
    if (found === shown || (found === null && !sound.paused)) {
      return; // between two lines the last one stays marked
    }
    shown?.item.removeAttribute("aria-current");
    shown = found;
    found?.item.setAttribute("aria-current", "true");
    if (found && follow.checked && !sound.paused) {
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      found.item.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
    }
  };
}

if (sound && list) {
  const lines = [...list.querySelectorAll("li[data-start]")].map(item => ({
    item, start: Number(item.dataset.start), end: Number(item.dataset.end),
  }));
  const mark = step(lines);
  for (const name of ["timeupdate", "seeked", "playing"]) {
    sound.addEventListener(name, mark);
  }
  list.addEventListener("click", event => {
    const item = event.target.closest("li[data-start]");
    if (!item || String(getSelection())) {
      return; // somebody marks text to copy it
    }
    sound.currentTime = Number(item.dataset.start) / 1000;
    sound.play().catch(() => {}); // a browser that does not let us play shows its own controls
  });
}
