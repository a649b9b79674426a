import pytest
from browser import check_accessible, check_quiet, open_page
from jinja2 import UndefinedError

from invdyn_ros.evaluation.pages import page

HOSTILE = "</script><script>window.broken = 1</script>\u2028&amp;'\""


@pytest.fixture
def template(monkeypatch):
    text = "{% extends 'page.html' %}{% block main %}<p id='p'>{{ word }}</p>{% endblock %}"
    read = page.read_asset
    monkeypatch.setattr(
        page._templates.loader, "load_func", lambda n: text if n == "t" else read(n)
    )


def test_text_in_a_page_is_only_text(browser, template, tmp_path):
    html = page.render_page(HOSTILE, "t", {"word": HOSTILE}, data={"word": HOSTILE})
    open_page(browser, page.write_page(tmp_path / "a" / "page.html", html))
    assert browser.execute_script("return pageData.word") == HOSTILE
    assert browser.execute_script("return document.getElementById('p').textContent") == HOSTILE
    assert browser.title.split() == HOSTILE.split()
    assert browser.execute_script("return window.broken") is None
    check_quiet(browser)
    check_accessible(browser)


def test_a_page_needs_all_its_values(template):
    with pytest.raises(UndefinedError, match="word"):
        page.render_page("title", "t", {})
    with pytest.raises(ValueError, match="JSON"):
        page.render_page("title", "t", {"word": ""}, data=float("nan"))
