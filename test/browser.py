"""Headless Chromium for the tests of pages: `browser`, `open_page`, `check_accessible`."""

import contextlib
import json
import sys
from pathlib import Path

import pytest

from invdyn_ros.benchmarks.headless_chromium import start_chromium

AXE = Path(sys.prefix) / "node_modules" / "axe-core" / "axe.min.js"
WIDTHS = (1280, 400)


@contextlib.contextmanager
def needs_chromium():
    """Skip the test where Chromium is missing."""
    try:
        yield
    except ValueError as error:
        if "chromium or chromedriver is missing" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Yield a Selenium driver of a headless Chromium."""
    with needs_chromium():
        chrome = start_chromium(tmp_path_factory.mktemp("chromium"))
    yield chrome
    chrome.quit()


def open_page(browser, page, width=1280, height=900, fragment=""):
    """Open a file or an address at a window size."""
    from selenium.webdriver.support.wait import WebDriverWait

    browser.set_window_size(width, height)
    browser.get_log("browser"), browser.get_log("performance")
    address = page.as_uri() if isinstance(page, Path) else page
    browser.get("about:blank")  # a changed fragment alone would not load the page anew
    browser.get(address + fragment)
    WebDriverWait(browser, 20).until(
        lambda b: (
            b.execute_script("return location.href !== 'about:blank' && document.readyState")
            == "complete"
        )
    )


def requested_addresses(browser):
    """Addresses that the page has asked for since it was opened, itself aside."""
    messages = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    events = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    page = browser.current_url.split("#")[0]
    urls = {p["request"]["url"] for p in events if p["documentURL"].split("#")[0] == page}
    return sorted(url for url in urls - {page} if not url.startswith(("data:", "blob:")))


def check_quiet(browser):
    """Fail if the page logged an error or asked for anything from the network."""
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors
    findings = requested_addresses(browser)
    assert not findings, findings


def check_accessible(browser):
    """Fail if axe-core has a serious or critical finding."""
    if not AXE.exists():
        pytest.skip(f"axe-core is missing: npm install --prefix {sys.prefix} axe-core")
    browser.execute_script(AXE.read_text(encoding="utf-8"))
    script = "axe.run().then(arguments[0], e => arguments[0]({violations: [String(e)]}))"
    findings = browser.execute_async_script(script)["violations"]
    serious = [f for f in findings if isinstance(f, str) or f["impact"] in ("serious", "critical")]
    assert not serious, json.dumps(serious, indent=1)[:3000]
    assert not browser.execute_script(
        "return document.documentElement.scrollWidth > window.innerWidth + 1"
    ), "the page is wider than the window"
