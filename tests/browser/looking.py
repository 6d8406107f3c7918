"""What every page is held to when a browser looks at it: axe, sizes, language, console, content policy."""

import re
from pathlib import Path

import axe_playwright_python
from playwright.sync_api import Page, ViewportSize

PHONE = ViewportSize(width=390, height=844)
DESKTOP = ViewportSize(width=1280, height=800)
KIOSK = ViewportSize(width=1080, height=1920)
SIZES = {"phone": PHONE, "desktop": DESKTOP, "kiosk": KIOSK}
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
TARGET_PX = 44
"""Smallest side of what a finger aims at (WCAG 2.2, 2.5.5)."""
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]

_AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
WATCH = """
window.__policyViolations = [];
document.addEventListener('securitypolicyviolation', event =>
  window.__policyViolations.push(event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample));
"""
"""Runs in each page before its own scripts."""
_SMALL_TARGETS = """
least => [...document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, textarea, summary, [role=button], [role=tab]')]
  .filter(e => !e.matches('.skip') && e.checkVisibility({checkOpacity: true, checkVisibilityCSS: true}))
  .map(e => e.matches('input[type=checkbox], input[type=radio]') ? (e.closest('label') || e) : e)
  .filter(e => {
    if (!e.matches('a') || getComputedStyle(e).display !== 'inline') return true;
    return e.parentElement.textContent.trim() === e.textContent.trim();  // in a sentence
  })
  .map(e => ({box: e.getBoundingClientRect(), html: e.outerHTML.slice(0, 120)}))
  .filter(({box}) => box.width < least - 0.5 || box.height < least - 0.5)
  .map(({box, html}) => `${Math.round(box.width)}x${Math.round(box.height)} ${html}`)
"""
_VIOLATIONS = """
async tags => {
  // what passes is a thousand elements, and only what does not is asked for
  const result = await axe.run({runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']});
  return result.violations.flatMap(rule => rule.nodes.map(
    node => `${rule.id}: ${node.html.slice(0, 160)} - ${node.failureSummary}`));
}
"""


def axe_violations(page: Page) -> list[str]:
    """Every axe-core violation of the page as it stands: rule, element, and what to do."""
    if not page.evaluate("() => Boolean(window.axe)"):
        page.evaluate(_AXE)  # by the debugger's protocol: the page's content policy does not stop it
    found: list[str] = page.evaluate(_VIOLATIONS, AXE_TAGS)
    return found


def problems(page: Page) -> list[str]:
    """What a person would dislike at this size, besides axe: scroll, small targets, language, errors."""
    found = []
    wide, inner = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
    if wide > inner:
        found.append(f"scrolls sideways: {wide} px in a window of {inner} px")
    found += [f"small target: {target}" for target in page.evaluate(_SMALL_TARGETS, TARGET_PX)]
    if not page.evaluate("() => document.documentElement.lang"):
        found.append("the html element has no lang")
    found += [
        f"content policy: {violation}" for violation in page.evaluate("() => window.__policyViolations ?? []")
    ]
    found += [f"console: {text}" for text in getattr(page, "civic_errors", [])]
    return found


def screenshot(page: Page, name: str) -> Path:
    """A picture of the window in build/screenshots, named for the page and the size."""
    size = page.viewport_size
    assert size is not None
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
    path = SCREENSHOTS / f"{safe}-{size['width']}x{size['height']}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    return path


def look_ok(page: Page, name: str) -> None:
    """Take a screenshot and assert that the page has no problem and no axe violation."""
    screenshot(page, name)
    assert problems(page) == []
    assert axe_violations(page) == []
