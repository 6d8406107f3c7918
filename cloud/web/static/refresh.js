// Keeps the parts of a page fresh that say from where (data-refresh) and how often (data-every, seconds).

const TIMEOUT_MS = 10000;

function placeOf(element, part) {
  if (!part.contains(element) || element === part) {
    return null;
  }
  const same = `${element.localName}${element.id ? `#${CSS.escape(element.id)}` : ""}`;
  return { same, index: [...part.querySelectorAll(same)].indexOf(element) };
}

function replace(part, html) {
  const focus = placeOf(document.activeElement, part);
  const open = [...part.querySelectorAll("details[open][id]")].map(each => each.id);
  const scrolled = [...part.querySelectorAll(".scroll")].map(each => each.scrollLeft);
  part.innerHTML = html;
  for (const id of open) {
    const details = document.getElementById(id);
    if (details) {
      details.open = true;
    }
  }
  part.querySelectorAll(".scroll").forEach((each, i) => { each.scrollLeft = scrolled[i] || 0; });
  if (focus) {
    const again = part.querySelectorAll(focus.same)[focus.index];
    if (again) {
      again.focus({ preventScroll: true });
    }
  }
}

function busy(part) {
  const active = document.activeElement;
  return part.contains(active) && active.matches("select, input, textarea");
}

function watch(part) {
  const bar = part.nextElementSibling;
  const lost = bar.querySelector("[role=status]");
  const button = bar.querySelector("button");
  const everyMs = Number(part.dataset.every) * 1000;
  let paused = false;

  async function turn() {
    if (!paused && !document.hidden && !busy(part)) {
      try {
        const answer = await fetch(part.dataset.refresh, {
          redirect: "manual",
          signal: AbortSignal.timeout(TIMEOUT_MS),
        });
        if (answer.type === "opaqueredirect") {
          location.reload(); // the session has ended: the page asks to sign in
          return;
        }
        if (!answer.ok) {
          throw new Error(String(answer.status));
        }
        const html = await answer.text();
        if (!paused && !busy(part)) {
          replace(part, html);
        }
        lost.hidden = true;
      } catch {
        lost.hidden = false;
      }
    }
    setTimeout(turn, everyMs);
  }

  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? button.dataset.resume : button.dataset.pause;
  });
  setTimeout(turn, everyMs);
}

document.querySelectorAll("[data-refresh]").forEach(watch);
