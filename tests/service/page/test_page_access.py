"""Who can use the page, and what it never does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tgqformer.service

pytestmark = pytest.mark.timeout(300)
Open = Callable[..., Any]
VIEWS = (
    "/",
    "/?id=p16&model=ours&model=rival&kind=banner&severity=1",
    "/?id=p16&self=1",
    "/?view=map",
)
PAGE = Path(tgqformer.service.__file__).with_name("page")


def _settle(page: Any, view: str) -> None:
    page.wait_for_selector(
        {"/": ".card", "/?view=map": ".in-view li", "/?id=p16&self=1": "#why .readings"}.get(
            view, ".mark"
        )
    )


def test_from_the_search_to_the_explanation_by_keys_alone(visit: Open) -> None:
    tab = visit()
    page = tab()
    page.wait_for_selector(".card")
    press = page.keyboard.press
    focused = "document.activeElement"
    while page.evaluate(f"{focused}.id") != "query":
        press("Tab")
    page.keyboard.type("oak lamp 4")
    page.wait_for_selector("#suggestions li >> nth=1")
    press("ArrowDown")
    press("ArrowDown")
    assert page.get_attribute("#query", "aria-activedescendant") == "suggestion-1"
    press("Enter")
    page.wait_for_selector(".column .card")
    for _ in range(40):
        press("Tab")
        if page.evaluate(f"{focused}.matches('.card button.photo')"):
            break
    name = page.evaluate(f"{focused}.ariaLabel")
    style = page.evaluate(f"getComputedStyle({focused}).outlineStyle")
    assert style == "solid"  # the focus is seen
    press("Enter")
    page.wait_for_selector("#why .readings")
    for _ in range(12):  # the dialog keeps the focus (or gives it to the browser's own bars)
        press("Tab")
        assert page.evaluate(f"{focused} === document.body || !!{focused}.closest('#why')")
    press("Escape")
    page.wait_for_selector("#why", state="hidden")
    tab.until(f"{focused}.ariaLabel === {json.dumps(name)}")  # both follow the closing
    tab.until("!location.href.includes('why=')")


def test_escape_closes_the_suggestions_and_leaves_what_was_typed(visit: Open) -> None:
    page = visit()()
    page.wait_for_selector(".card")
    page.fill("#query", "lamp")
    page.wait_for_selector("#suggestions li")
    page.keyboard.press("Escape")
    assert page.is_hidden("#suggestions")
    assert page.input_value("#query") == "lamp"
    assert page.get_attribute("#query", "aria-expanded") == "false"


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_passes_axe_and_fits_a_phone_in_both_schemes(visit: Open, view: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab = visit(viewport={"width": 360, "height": 760}, reduced_motion="reduce")
    page = tab(view)
    _settle(page, view)
    # what the scheme changes is colour alone
    for scheme, options in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme)
        found = axe.run(page, options=options).response["violations"]
        told = [(fault["id"], [node["html"] for node in fault["nodes"][:3]]) for fault in found]
        assert told == [], scheme
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    wide = """[...document.querySelectorAll('main *, header *, dialog[open] *')].filter(node => {
      const {right, width} = node.getBoundingClientRect();
      return width > 2 && right > 361 && !node.closest('.hidden-text, .skip, svg');
    }).map(node => node.outerHTML.slice(0, 120))"""
    assert page.evaluate(wide) == []
    moving = """[...document.querySelectorAll('*')].filter(node =>
      getComputedStyle(node).transitionDuration.split(',').some(t => parseFloat(t) > 0)).length"""
    assert page.evaluate(moving) == 0
    assert page.locator("img:not([alt])").count() == 0
    assert tab.complaints == []


def test_titles_are_text_wherever_they_stand(visit: Open) -> None:
    tab = visit()
    page = tab("/?id=p07&why=p06")
    page.wait_for_selector("#why .readings")
    page.keyboard.press("Escape")
    assert page.inner_text("#panel h1").startswith("<img src=x onerror=")
    page.fill("#query", "onerror")
    page.wait_for_selector("#suggestions :text('<img src=x')")
    page.keyboard.press("Escape")
    page.goto(tab.site + "/?id=p07&self=1")
    page.wait_for_selector("#why .readings:has-text('<img')")
    page.goto(tab.site + "/?view=map&id=p07")
    page.wait_for_selector(".in-view :text('<img src=x')")
    page.goto(tab.site + "/?text=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E")
    page.wait_for_selector("#panel :text('<img src=x')")
    assert page.title() != "owned"
    assert page.locator("img[src=x], img[onerror]").count() == 0
    assert tab.complaints == []


def test_scripts_write_no_html_and_know_no_other_host() -> None:
    files = [path for path in PAGE.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        for never in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert never not in text, path.name
        for never in ("http://", "https://", 'style="', " onclick=", "@import"):
            assert never not in text, path.name


def test_the_page_forbids_itself_other_hosts(visit: Open) -> None:
    tab = visit()
    page = tab()
    page.wait_for_selector(".card")
    blocked = """async () => {
      const other = location.origin.replace('127.0.0.1', 'localhost');
      try { await fetch(other + '/health', {mode: 'no-cors'}); return 'sent'; }
      catch { return 'refused'; }
    }"""
    assert page.evaluate(blocked) == "refused"
    assert tab.requests
