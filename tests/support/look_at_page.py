"""Open an HTML file in a headless Chromium, in the environment of locks/browser.txt; print what it shows as JSON.

Usage: look_at_page.py <chromium> <file> [<picture to write>]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

MARKS = """
figures => Object.fromEntries(figures.map(figure => [
  figure.id.replace('chart-', ''),
  [...figure.querySelectorAll('.role-mark path, .role-mark rect, .role-mark line')]
    .filter(mark => mark.getBBox().width + mark.getBBox().height > 0)
    .map(mark => [getComputedStyle(mark).fill, getComputedStyle(mark).stroke])
]))
"""
TABLES = """
tables => Object.fromEntries(tables.map(table => [
  table.caption.textContent,
  [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent))
]))
"""
VISIBLE = "tables => tables.filter(table => table.checkVisibility({contentVisibilityAuto: true})).length"


def violations(page: Page) -> list[str]:
    """Return axe's violations, as text."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [f"{item['id']}: {item['nodes'][0]['html'][:200]}" for item in found]


def opened_by_keyboard(page: Page) -> int:
    """Return the number of tables that are open after going through the page with Tab and Enter only."""
    page.evaluate("document.activeElement.blur()")
    for _ in range(100):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.tagName")
        if name == "SUMMARY":
            page.keyboard.press("Enter")
        if name == "BODY":
            break
    return int(page.eval_on_selector_all("details[open]", "found => found.length"))


def look(chromium: str, file: Path, picture: str | None) -> dict[str, Any]:
    """Return what the browser shows of the page."""
    seen: dict[str, Any] = {"messages": [], "requests": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(viewport={"width": 1000, "height": 940}, color_scheme="light")
        page.on("console", lambda message: seen["messages"].append(message.text))
        page.on("pageerror", lambda error: seen["messages"].append(str(error)))
        page.on("request", lambda request: seen["requests"].append(request.url))
        page.goto(file.as_uri())
        seen["title"] = page.title()
        seen["tables"] = page.eval_on_selector_all("table", TABLES)
        seen["images"] = page.eval_on_selector_all("svg", "all => all.map(svg => svg.getAttribute('aria-label'))")
        if picture is not None:
            page.screenshot(path=picture)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            seen[scheme] = {
                "marks": page.eval_on_selector_all("figure", MARKS),
                "paper": page.evaluate("getComputedStyle(document.body).backgroundColor"),
                "violations": violations(page),
            }
        page.emulate_media(media="print")
        seen["printed_tables"] = page.eval_on_selector_all("table", VISIBLE)
        page.emulate_media(media="screen")
        seen["closed_tables"] = page.eval_on_selector_all("table", VISIBLE)
        seen["details"] = page.eval_on_selector_all("details", "found => found.length")
        seen["opened"] = opened_by_keyboard(page)
        page.set_viewport_size({"width": 360, "height": 740})
        seen["overflow"] = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        browser.close()
    return seen


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3] if sys.argv[3:] else None)))
