"""The line and bar charts of pages: what is drawn and read is the data."""

import pytest
from browser import WIDTHS, check_accessible, check_quiet, open_page
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from invdyn_ros.evaluation.pages import page

TEMPLATE = """{% extends 'page.html' %}{% block main %}<h2>Charts</h2>
<div id="line"></div><div id="log"></div><div id="bar"></div>{% endblock %}"""
SCRIPT = """
const hovered = [];
const at = (name) => document.getElementById(name);
const line = lineChart(at("line"), {...pageData.line, onHover: (x) => hovered.push(x)});
const log = lineChart(at("log"), pageData.log);
const bar = barChart(at("bar"), pageData.bar);
"""
X = [i / 10 for i in range(101)]
RAMP = [None if 40 < i < 50 else i / 5 for i in range(101)]
EPOCHS = list(range(5000))
DATA = {
    "line": {
        "title": "Joint 1",
        "xLabel": "time [s]",
        "yLabel": "torque [N m]",
        "series": [
            {"name": "measured", "x": X, "y": RAMP},
            {
                "name": "predicted",
                "x": X,
                "y": [-x for x in X],
                "dashed": True,
                "band": {"lower": [-x - 1 for x in X], "upper": [1 - x for x in X]},
            },
        ],
    },
    "log": {
        "title": "Loss",
        "xLabel": "epoch",
        "yLabel": "loss",
        "logY": True,
        "series": [{"name": "loss", "x": EPOCHS, "y": [10 ** (-i / 1000) for i in EPOCHS]}],
    },
    "bar": {
        "title": "Error",
        "yLabel": "error [N m]",
        "categories": ["mlp", "analytical", "broken"],
        "series": [
            {"name": "train", "values": [1, 2, None]},
            {"name": "test", "values": [2.5, 4, 1], "lower": [2, 3, 0], "upper": [3, 5, 2]},
        ],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def chart_page(browser, tmp_path_factory):
    read, templates = page.read_asset, page._templates.loader
    templates.load_func = lambda name: TEMPLATE if name == "charts" else read(name)
    try:
        html = page.render_page("Charts", "charts", {}, data=DATA, scripts=page.CHART_SCRIPTS)
    finally:
        templates.load_func = read
    html = html.replace("</body>", f"<script>{SCRIPT}</script></body>")
    return page.write_page(tmp_path_factory.mktemp("charts") / "page.html", html)


def find(browser, selector):
    return browser.find_element("css selector", selector)


def readout(browser):
    return find(browser, "#line .chart-readout").text


def press(browser, *keys):
    for key in keys:
        find(browser, "#line figure > svg").send_keys(key)


def visible_range(browser):
    return browser.execute_script("return line.visibleRange")


@pytest.mark.parametrize("width", WIDTHS)
def test_charts_are_quiet_and_accessible(browser, chart_page, width):
    open_page(browser, chart_page, width)
    find(browser, "#bar summary").click()
    find(browser, "#line summary").click()
    check_quiet(browser)
    check_accessible(browser)


def test_keys_read_values_and_zoom(browser, chart_page):
    open_page(browser, chart_page)
    press(browser, Keys.ARROW_RIGHT)
    assert readout(browser) == "time [s] 5.1: measured 10.2, predicted -5.1"
    press(browser, "+")
    low, high = visible_range(browser)
    assert high - low == pytest.approx(5)
    assert low < 5.1 < high
    press(browser, *[Keys.SHIFT + Keys.ARROW_RIGHT] * 6)
    assert visible_range(browser)[1] > high, "the view follows the place that is read"
    press(browser, "-", "-")
    assert visible_range(browser) == [0, 10]
    press(browser, "+", "0")
    assert visible_range(browser) == [0, 10]
    assert browser.execute_script("return hovered[0]") == pytest.approx(5.1)


def test_pointer_reads_drags_and_wheels(browser, chart_page):
    open_page(browser, chart_page)
    drawing = find(browser, "#line figure > svg")
    place = ActionChains(browser, duration=0).move_to_element_with_offset(drawing, -100, 0)
    place.click_and_hold().move_by_offset(200, 0).release().perform()
    low, high = visible_range(browser)
    assert 3 < low < 5 < high < 7
    assert "measured" in readout(browser)
    wheel = "new WheelEvent('wheel', {deltaY: 1, clientX: 600, cancelable: true})"
    browser.execute_script(f"arguments[0].dispatchEvent({wheel})", drawing)
    assert visible_range(browser)[1] - visible_range(browser)[0] == pytest.approx(
        1.25 * (high - low)
    )
    ActionChains(browser, duration=0).double_click(drawing).perform()
    assert visible_range(browser) == [0, 10]
    for label, width in (("Zoom in", 5), ("Show all", 10), ("Zoom in", 5), ("Zoom out", 10)):
        find(browser, f"#line button[aria-label^='{label}']").click()
        assert visible_range(browser)[1] - visible_range(browser)[0] == pytest.approx(width)


def test_curves_have_gaps_and_a_marker(browser, chart_page):
    open_page(browser, chart_page)
    path = find(browser, "#line path[data-series=measured]").get_attribute("d")
    assert path.count("M") == 2
    assert "NaN" not in find(browser, "main").get_attribute("innerHTML")
    browser.execute_script("line.setMarker(2.5)")
    x = float(find(browser, "#line .chart-marker").get_attribute("x1"))
    assert x == pytest.approx(browser.execute_script("return line.xOf(2.5)"))
    # a straight line on the logarithmic axis
    heights = browser.execute_script(
        "return [0, 2000, 4000].map((i) => log.yOf(10 ** (-i / 1000)))"
    )
    assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1])


def test_legend_toggles_a_series(browser, chart_page):
    open_page(browser, chart_page)
    browser.execute_script("line.setPlace(2)")
    button = find(browser, "#line .legend")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert readout(browser) == "time [s] 2: predicted -2"
    assert not browser.find_elements("css selector", "#line path[data-series=measured]")
    button.click()
    assert find(browser, "#line path[data-series=measured]")
    browser.execute_script("line.update({title: 'Joint 2'})")
    assert find(browser, "#line figcaption").text == "Joint 2"


def table(browser, name):
    find(browser, f"#{name} summary").click()  # fills the table a little later
    WebDriverWait(browser, 20).until(lambda b: b.find_elements("css selector", f"#{name} tr"))
    rows = browser.find_elements("css selector", f"#{name} tr")
    return [[c.text for c in r.find_elements("css selector", "th, td")] for r in rows]


def test_tables_hold_the_values(browser, chart_page):
    open_page(browser, chart_page)
    head, *rows = table(browser, "line")
    assert head == ["time [s]", "measured", "predicted"]
    assert ["4.2", "none", "-4.2"] in rows
    bars = [["error [N m]", "train", "test"], ["mlp", "1", "2.5 (2 to 3)"]]
    assert table(browser, "bar")[:2] == bars


def test_bars_are_as_long_as_their_values(browser, chart_page):
    open_page(browser, chart_page)
    rects = browser.find_elements("css selector", "#bar rect[data-series=test]")
    widths = [float(rect.get_attribute("width")) for rect in rects]
    assert widths[0] / widths[2] == pytest.approx(2.5)
    assert widths[1] / widths[2] == pytest.approx(4)
    browser.execute_script("bar.destroy(); line.destroy()")
    assert not find(browser, "#line").text
