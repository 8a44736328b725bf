"""Pages in a real browser: `pytest tests/browser`, which needs Chromium on PATH.

    python -m pytest tests/browser --page=runs/quickstart/report.html

also looks at that page.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Tab, find_chromium, open_tab
from tests.evaluation.page.sample_run import METRICS, OUTLINE, TEXTS, tagging_run
from tests.evaluation.page.test_annotators_page import annotated_run
from tests.evaluation.page.test_sweep_page import SWEEP
from xdistil.evaluation.page.files import RunFiles
from xdistil.evaluation.page.render import render_page
from xdistil.evaluation.page.sweep import render_sweep

WIDTHS = (360, 768, 1280)

# The texts whose contrast is below WCAG's AA: 4.5, or 3 for large ones. Signs count through their
# stroke. A ground with alpha is mixed with those below it.
CONTRAST = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const read = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const mix = (over, under) =>
    [0, 1, 2].map((i) => over[i] * over[3] + under[i] * (1 - over[3])).concat(1);
  const light = (colour) => {
    const [r, g, b] = colour.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    const layers = [];
    for (let each = node; each; each = each.parentElement) {
      layers.push(read(getComputedStyle(each).backgroundColor));
    }
    return layers.reverse().reduce((under, over) => mix(over, under), [255, 255, 255, 1]);
  };
  const compare = (colour, under) => {
    const pair = [light(mix(colour, under)), light(under)].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  };
  const faint = [];
  const check = (node, colour, least, what) => {
    const ratio = compare(read(colour), ground(node));
    if (ratio < least) faint.push(`${ratio.toFixed(2)} ${what}`);
  };
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility()) continue;
    if (["SCRIPT", "STYLE"].includes(node.tagName)) continue;
    texts += 1;
    const style = getComputedStyle(node);
    const size = Number.parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const colour = node instanceof SVGElement ? style.fill : style.color;
    check(node, colour, large ? 3 : 4.5, walker.currentNode.data.trim().slice(0, 40));
  }
  for (const mark of document.querySelectorAll(".mark, .curve, .whisker")) {
    const colour = getComputedStyle(mark).stroke;
    if (mark.checkVisibility() && colour !== "none") check(mark, colour, 3, mark.outerHTML);
  }
  return [texts, [...new Set(faint)]];
})()"""


@pytest.fixture(scope="session")
def tab() -> Iterator[Tab]:
    """A tab of the browser that all tests use."""
    program = find_chromium()
    if program is None:
        pytest.fail("There is no Chromium on PATH.", pytrace=False)
    with open_tab(program) as opened:
        yield opened


@pytest.fixture(scope="session")
def pages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A finished run, one in progress, one of annotators, a sweep, and the page of --page."""
    folder = tmp_path_factory.mktemp("pages")
    runs = {"finished": tagging_run(), "progress": RunFiles("run", None, OUTLINE, METRICS)}
    runs["annotators"] = annotated_run()
    paths = []
    for name, run in runs.items():
        paths.append(folder / f"{name}.html")
        paths[-1].write_text(render_page(run), encoding="utf-8")
    paths.append(folder / "sweep.html")
    paths[-1].write_text(render_sweep(SWEEP), encoding="utf-8")
    if given := request.config.getoption("--page"):
        paths.append(Path(given))
    return paths


@pytest.fixture
def finished(tab: Tab, pages: list[Path]) -> Tab:
    """The tab, on the page of the finished run."""
    tab.open(pages[0])
    return tab


def texts_shown(tab: Tab) -> list[str]:
    return tab.evaluate(
        "[...document.querySelectorAll('#list > li')].map((each) => each.innerText)"
    )


def count(tab: Tab) -> str:
    return tab.evaluate("document.getElementById('count').textContent")


def focused(tab: Tab) -> str:
    return tab.evaluate("document.activeElement.outerHTML.split('>')[0]")


def test_pages_load_without_a_complaint_and_ask_for_nothing(tab, pages):
    for path in pages:
        for dark in (False, True):
            tab.open(path, dark=dark)
            assert tab.problems == []
            assert tab.requests == [path.resolve().as_uri()]


def test_no_page_is_wider_than_its_window(tab, pages):
    for path in pages:
        for width in WIDTHS:
            tab.open(path, width)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
            hidden = "!getComputedStyle(each.parentElement).display.includes('none')"
            shown = f"[...document.querySelectorAll('.chart svg')].filter((each) => {hidden})"
            widest = f"Math.max(0, ...{shown}.map((each) => each.getBoundingClientRect().right))"
            assert tab.evaluate(widest) <= width


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_and_sign_stands_out_from_its_ground(tab, pages, dark):
    for path in pages:
        tab.open(path, dark=dark)
        tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        texts, faint = tab.evaluate(CONTRAST)
        assert texts > 30
        assert faint == [], path


def test_light_and_dark_differ(tab, pages):
    grounds = []
    for dark in (False, True):
        tab.open(pages[0], dark=dark)
        grounds.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(grounds)) == 2


def test_the_filter_works_by_keyboard(finished):
    shown = [text for text in TEXTS if text[2] != text[3]]
    assert len(texts_shown(finished)) == len(shown) == 4
    assert count(finished) == "Showing 4 of 4 that match."
    finished.evaluate("document.getElementById('by-language').focus()")
    finished.press("ArrowDown", 40)  # all -> ar
    assert finished.evaluate("document.getElementById('by-language').value") == "ar"
    assert count(finished) == "Showing 2 of 2 that match."
    assert all(text.startswith("ar") for text in texts_shown(finished))
    finished.press("Tab", 9)
    assert 'id="by-error"' in focused(finished)
    finished.press("ArrowDown", 40)
    assert finished.evaluate("document.getElementById('by-error').value") == "student: invented"
    (only,) = texts_shown(finished)
    assert "LOC · invented" in only
    assert finished.problems == []


def test_the_filter_works_by_mouse_and_more_examples_come_on_request(finished, tab, tmp_path):
    run = tagging_run()
    found = run.predictions
    labels = {name: rows * 15 for name, rows in found.labels.items()}
    repeated = type(found)(found.split, found.texts * 15, labels)
    path = tmp_path / "many.html"
    path.write_text(render_page(RunFiles("many", run.results, predictions=repeated)))
    tab.open(path)
    assert count(tab) == "Showing 20 of 60 that match."
    tab.click("#more")
    assert count(tab) == "Showing 40 of 60 that match."
    assert tab.evaluate("document.activeElement === document.querySelectorAll('#list > li')[20]")
    tab.click("#more")
    assert count(tab) == "Showing 60 of 60 that match."
    assert tab.evaluate("document.getElementById('more').hidden")
    tab.evaluate(
        "(() => { const by = document.getElementById('by-error'); by.value = 'teacher: missed';"
        "by.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    assert count(tab) == "Showing 15 of 15 that match."


def test_texts_are_texts(finished):
    """A word that looks like markup is shown as it is, in its direction."""
    evil = next(text for text in TEXTS if "script" in text[0])
    word = evil[0].split(" ")[0]
    assert any(word in text for text in texts_shown(finished))
    assert finished.evaluate("document.querySelectorAll('#list script').length") == 0
    arabic = (
        "[...document.querySelectorAll('#list .text')]"
        ".find((each) => each.innerText.includes('ذهبت'))"
    )
    assert finished.evaluate(f"getComputedStyle({arabic}).direction") == "rtl"
    assert finished.evaluate(f"{arabic}.lang") == "ar"
    latin = (
        "[...document.querySelectorAll('#list .text')]"
        ".find((each) => each.innerText.includes('Anna'))"
    )
    assert finished.evaluate(f"getComputedStyle({latin}).direction") == "ltr"
    (answer,) = [text for text in texts_shown(finished) if "Anna" in text]
    assert "same as gold" in answer  # the teacher's
    assert "PER · wrong edge" in answer


def test_tables_are_sorted_by_keyboard(finished):
    head = "document.querySelector('table.sortable thead th')"
    finished.evaluate(f"{head}.querySelector('button').focus()")
    order = (
        "[...document.querySelectorAll('table.sortable tbody tr')]"
        ".map((row) => row.cells[0].querySelector('[data-language]').dataset.language)"
    )
    for sort, expected in (("ascending", ["ar", "en"]), ("descending", ["en", "ar"])):
        finished.press("Enter", 13, "\r")
        assert finished.evaluate(order) == expected
        assert finished.evaluate(f"{head}.getAttribute('aria-sort')") == sort


def test_only_tables_that_scroll_are_stops_of_the_keyboard(tab, pages):
    script = (
        "[...document.querySelectorAll('.scroll')].filter((each) => each.checkVisibility())"
        ".map((each) => [each.tabIndex, each.scrollWidth > each.clientWidth])"
    )
    for width in (360, 1280):
        tab.open(pages[0], width)
        tab.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
        boxes = tab.evaluate(script)
        assert all((stop == 0) == scrolls for stop, scrolls in boxes)
        assert any(scrolls for _, scrolls in boxes) == (width == 360)


def test_focus_is_seen_and_begins_with_a_way_past_the_links(finished):
    seen = []
    for _ in range(12):
        finished.press("Tab", 9)
        seen.append(focused(finished))
        outline = finished.evaluate(
            "(() => { const style = getComputedStyle(document.activeElement);"
            "return [style.outlineStyle, Number.parseFloat(style.outlineWidth)]; })()"
        )
        assert outline[0] != "none", seen[-1]
        assert outline[1] >= 2, seen[-1]
    assert 'href="#main"' in seen[0]
    assert 'href="#languages"' in seen[1]
    assert len(set(seen)) > 7  # it moves: links, then buttons, which look alike here


def test_no_motion_where_the_reader_wants_none(tab, pages):
    script = "getComputedStyle(document.documentElement).scrollBehavior"
    tab.open(pages[0])
    assert tab.evaluate(script) == "smooth"
    tab.open(pages[0], **{"prefers-reduced-motion": "reduce"})
    assert tab.evaluate(script) == "auto"


def test_paper_shows_what_is_closed_on_the_screen(finished):
    finished.evaluate("dispatchEvent(new Event('beforeprint'))")
    closed = "document.querySelectorAll('main details:not([open])').length"
    assert finished.evaluate(closed) == 0
    finished.evaluate("dispatchEvent(new Event('afterprint'))")
    assert finished.evaluate(closed) > 0
    finished.send("Emulation.setEmulatedMedia", media="print", features=[])
    finished.send(
        "Emulation.setDeviceMetricsOverride",
        width=720,
        height=1000,
        deviceScaleFactor=1,
        mobile=False,
    )
    assert finished.evaluate("document.documentElement.scrollWidth") <= 720  # of A4
    for selector in ("nav", "#filter"):
        script = f"getComputedStyle(document.querySelector({json.dumps(selector)})).display"
        assert finished.evaluate(script) == "none"
