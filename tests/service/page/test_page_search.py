"""Searching: ways of asking, filters, corruption, models side by side, explanations, the map."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)
Open = Callable[..., Any]


def test_an_item_is_found_by_its_title_and_leads_to_its_neighbours(visit: Open) -> None:
    tab = visit()
    page = tab()
    page.fill("#query", "oak lamp 4")
    page.click("#suggestions [role=option]:has-text('p04')")
    ids = tab.cards()
    assert len(ids) == 10
    assert "p04" not in ids
    assert page.url.endswith("/?id=p04")
    assert "Oak lamp 4" in page.inner_text("#panel h1")
    assert re.search(r"\b0\.\d{3}\b", page.inner_text(".card >> nth=0"))
    assert "10 neighbours by ours" in page.inner_text("#status")


def test_words_and_ids_are_told_apart(visit: Open) -> None:
    tab = visit()
    page = tab()
    page.fill("#query", "steel kettle")
    page.press("#query", "Enter")
    assert set(tab.cards()[:4]) == {f"p{row}" for row in (26, 29, 32, 35)}
    assert page.url.endswith("/?text=steel+kettle")
    assert page.is_hidden("[role=switch]")  # nothing to lay a corruption over
    tab.until("document.querySelector('#categories').children.length > 0")
    page.fill("#query", "p11")
    page.press("#query", "Enter")
    page.wait_for_url("**/?id=p11")


def test_an_uploaded_photo_finds_the_item_that_it_is_of(visit: Open, pictures: list[bytes]) -> None:
    tab = visit()
    page = tab("/?model=rival")
    file = {"name": "mine.png", "mimeType": "image/png", "buffer": pictures[20]}
    page.set_input_files("#photo-file", file)
    assert tab.cards("rival")[0] == "p20"
    assert "photo=uploaded" in page.url
    page.reload()
    page.wait_for_selector("#error:has-text('choose it again')")
    page.set_input_files("#photo-file", {**file, "buffer": b"no picture"})
    page.wait_for_selector("#error:has-text('no picture')")


def test_filters_narrow_what_answers_and_stand_in_the_address(visit: Open) -> None:
    tab = visit()
    page = tab("/?id=p00")
    assert "p03" in tab.cards()
    page.check("[name=stock]")
    page.wait_for_url("**stock=1**")
    tab.until("!document.querySelector('[data-id=p03]')")
    page.fill("[name=category]", "Kitchen")
    page.fill("[name=brand]", "Nox")
    page.fill("[name=max]", "40")
    page.wait_for_url("**max=40**")
    tab.until("document.querySelectorAll('.card').length === 3")
    assert sorted(tab.cards()) == ["p25", "p27", "p29"]
    again = visit()
    again(page.url.removeprefix(tab.site))
    assert sorted(again.cards()) == ["p25", "p27", "p29"]
    page.click("#filters [type=reset]")
    page.wait_for_url("**/?id=p00")


def test_a_corruption_shows_which_of_the_clean_ten_hold(visit: Open) -> None:
    tab = visit()
    page = tab("/?id=p16&model=ours&model=rival")
    clean = {model: tab.cards(model) for model in ("ours", "rival")}
    page.click("[role=switch]")
    page.wait_for_selector("#panel figure >> nth=1")
    page.select_option("#panel select", label="Banner")
    page.locator("#panel [type=range]").fill("1")
    page.wait_for_url("**severity=1**")
    page.wait_for_selector(".mark")
    for model, before in clean.items():
        column = page.locator(f".column[data-model={model}]")
        now = tab.cards(model)
        held = [card for card in now if card in before]
        assert column.locator(".is-held").count() == len(held)
        assert column.locator(".is-new").count() == 10 - len(held)
        assert column.locator(".lost li").count() == 10 - len(held)
        assert f"{len(held)} of 10" in column.locator(".meter").inner_text()
    assert tab.cards("rival") != clean["rival"]  # which goes by the photo nearly alone
    page.click("[role=switch]")
    tab.until("!document.querySelector('.mark')")
    assert tab.cards() == clean["ours"]


def test_models_stand_side_by_side(visit: Open) -> None:
    tab = visit()
    page = tab("/?id=p16")
    tab.cards()
    assert page.locator(".column").count() == 1
    page.click("#models button[data-model=rival]")
    assert len(tab.cards("rival")) == len(tab.cards("ours")) == 10
    assert page.url.endswith("?id=p16&model=ours&model=rival")
    page.click("#models button[data-model=ours]")
    tab.until("document.querySelectorAll('.column').length === 1")
    page.go_back()
    assert len(tab.cards("ours")) == 10


def test_a_click_tells_why(visit: Open) -> None:
    tab = visit()
    page = tab("/?id=p16")
    first = tab.cards()[0]
    page.click(".card button.photo >> nth=0")
    page.wait_for_selector("#why .readings")
    assert f"why={first}" in page.url
    assert page.locator("#why .looked").count() == 2
    labels = page.eval_on_selector_all("#why canvas", "all => all.map(c => c.ariaLabel)")
    assert [label.split(":")[0] for label in labels] == [
        "Anchored stream",
        "Exploratory stream",
    ] * 2
    assert "lower" in labels[0]
    assert "upper" in labels[1]
    lit = """canvas => {
      const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      let warm = 0;
      for (let i = 0; i < data.length; i += 4) warm += data[i] > data[i + 2] + 40;
      return warm / (data.length / 4);
    }"""
    assert 0.1 < page.eval_on_selector("#why canvas", lit) < 0.9
    said = page.inner_text("#why-body")
    for part in ("0.42", "Photo", "0.55", "−0.05", "× 1.25", "× 0.95", "The towers are fakes."):
        assert part in said
    assert page.locator("#why .bars rect").count() == 18
    page.click("#why .choice button:has-text('rival')")
    page.wait_for_selector("#why .notes:has-text('cannot explain itself')")
    page.click("#why [data-go]")
    page.wait_for_url(f"**/?id={first}")
    page.wait_for_selector("#why", state="hidden")


def test_the_map_leads_to_items_by_pointer_and_by_list(visit: Open) -> None:
    tab = visit()
    page = tab("/?view=map")
    page.wait_for_selector(".in-view li")
    assert "36 in view" in page.inner_text("#map-view")
    box = page.locator(".surface canvas").bounding_box()
    page.focus(".surface canvas")
    for _ in range(6):
        page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    tab.until("!document.querySelector('#map-view h2').textContent.startsWith('36')")
    page.keyboard.press("0")
    page.wait_for_selector("h2:has-text('36 in view')")
    # the nearest to the middle comes first, and that is where the pointer finds it
    first = page.get_attribute(".in-view a >> nth=0", "data-go")
    point = page.evaluate(
        "async id => (await (await fetch('/v1/map')).json()).points.find(p => p.id === id)", first
    )
    x = box["width"] / 2 + point["x"] * (box["width"] / 2 - 28)
    y = box["height"] / 2 - point["y"] * (box["height"] / 2 - 28)
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.wait_for_selector(".tip:not([hidden])")
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url(re.compile(r"\?id=p\d\d$"))
    page.click("#to-map")
    page.click(".in-view a >> nth=2")
    assert len(tab.cards()) == 10


def test_a_key_is_asked_for_once_and_forgotten_with_the_tab(
    visit: Open, locked_site: tuple[str, str]
) -> None:
    address, key = locked_site
    tab = visit(address)
    page = tab("/?id=p16")
    page.fill("#key-value", "a key that nobody made")
    page.keyboard.press("Enter")
    page.wait_for_selector("#key-message:has-text('not known')")
    page.fill("#key-value", key)
    page.keyboard.press("Enter")
    assert len(tab.cards()) == 10
    tab.until("[...document.querySelectorAll('.card img')].some(i => i.naturalWidth)")
    page.reload()
    assert len(tab.cards()) == 10
    assert key not in page.url
    assert page.evaluate("localStorage.length") == 0
    other = visit(address)
    other().wait_for_selector("#key[open]")
    other.page.keyboard.press("Escape")
    other.page.wait_for_selector("#error:has-text('asks for a key')")


def test_what_goes_wrong_is_one_sentence(visit: Open) -> None:
    tab = visit()
    page = tab("/?id=nobody")
    page.wait_for_selector("#error:not([hidden])")
    assert page.inner_text("#error") == "No item 'nobody' is stored; check the id."
    page.route("**/v1/similar", lambda route: route.abort())
    page.fill("#query", "lamp")
    page.press("#query", "Enter")
    page.wait_for_selector("#error:has-text('cannot be reached')")
    page.unroute("**/v1/similar")
    page.press("#query", "Enter")
    assert len(tab.cards()) == 10
    assert page.is_hidden("#error")
