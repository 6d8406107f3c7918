// Light or dark: the reader's choice, kept in this browser; until then the system's.
"use strict";

const KEY = "fleet-theme";
const root = document.documentElement;

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is switched off: the choice lasts for this page
  }
}

function current() {
  return root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

function show(theme) {
  root.dataset.theme = theme;
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    button.setAttribute("aria-pressed", String(theme === "dark"));
  }
}

const chosen = stored();
if (chosen === "light" || chosen === "dark") {
  root.dataset.theme = chosen;
}

document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    button.hidden = false;
    button.setAttribute("aria-pressed", String(current() === "dark"));
    button.addEventListener("click", () => {
      const next = current() === "dark" ? "light" : "dark";
      show(next);
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // storage is switched off: the choice lasts for this page
      }
    });
  }
  const address = location.pathname;
  for (const link of document.querySelectorAll("nav a[href]")) {
    const target = link.getAttribute("href");
    if (address === target || address.startsWith(target + "/")) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "center" });
    }
  }
});
