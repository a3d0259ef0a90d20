"""The page of the service, in Chromium: search, play, a file of one's own; before a service that is made up."""

import re
from html.parser import HTMLParser

import pytest

from tests.tasks.service.fake_api import HOSTILE, HOSTILE_NAME, PAGE, tone
from tests.tasks.service.page.conftest import open_page

ROWS = "document.querySelectorAll('#found-rows li').length"


def focused(page):
    return page.ask("document.activeElement.innerText.trim().split('\\n').pop()")


def test_files_of_the_page_keep_the_policy():
    """No script or style inside the HTML, no address outside the service, no text that is read as HTML."""

    class Parts(HTMLParser):
        def handle_starttag(self, tag, attributes):
            names = dict(attributes)
            assert tag != "style" and not any(name == "style" or name.startswith("on") for name in names)
            assert tag != "script" or names.get("src", "").startswith("/static/")
            for name in ("href", "src"):
                assert re.match(r"[/#]", names.get(name, "/")), names

    Parts().feed((PAGE / "index.html").read_text(encoding="utf-8"))
    scripts = [path for path in PAGE.glob("*.js") if path.name != "docs.js"]
    assert len(scripts) > 10
    for path in [*scripts, PAGE / "style.css"]:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        wrong = re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?://|setAttribute\(.style", text
        )
        assert not wrong, f"{path.name}: {wrong[0]}"
        assert text.count("\n") <= 400, path.name


def test_search_by_keyboard_plays_and_back_returns(page, api, pictures):
    page.ask("document.querySelector('#q').focus()")
    page.write("sad pia")
    page.wait("document.querySelectorAll('#q-suggestions [role=option]').length === 1", 5)
    assert page.ask("document.querySelector('#q').getAttribute('aria-expanded')") == "true"
    page.press("ArrowDown")
    assert (
        page.ask(
            "document.getElementById(document.querySelector('#q').getAttribute('aria-activedescendant')).innerText"
        )
        == "piano"
    )
    page.press("Enter")
    assert page.ask("document.querySelector('#q').value") == "sad piano "
    page.write("-female")
    page.press("Enter")
    page.wait(f"{ROWS} === 20", 5)
    assert page.ask("document.querySelector('#q-suggestions').hidden")
    assert api.asked[-1] == ("GET", "/api/library/search", {"k": ["20"], "q": ["sad piano -female"]})
    assert page.ask("location.hash") == "#search?model=library&q=sad+piano+-female"
    because = page.ask("[...document.querySelectorAll('#found-rows li:first-child .because')].map(e => e.innerText)")
    assert because == ["piano", "sad"]

    page.ask("document.querySelector('#found-rows button').focus()")
    page.press("ArrowDown", "ArrowDown")
    third = page.ask("document.querySelector('#found-rows li:nth-child(3) .title').innerText")
    assert focused(page) != third and third in page.ask("document.activeElement.innerText")
    page.press("Enter")
    page.wait("document.querySelector('#audio').currentTime > 0.2", 10)
    assert page.ask("document.querySelector('#player-title').innerText") == third
    assert page.ask("document.querySelector('#found-rows li[aria-current] .title').innerText") == third
    assert api.ranges[-1] == "bytes=0-"
    page.press(" ")
    page.wait("document.querySelector('#audio').paused", 5)
    page.press("ArrowRight")
    assert page.ask("document.activeElement.className").startswith("chip")
    pictures(page, "results")

    page.ask("document.querySelector('#cloud .chip').click()")
    page.wait("location.hash.includes('ambient')", 5)
    page.ask("history.back()")
    page.wait("document.querySelector('#q').value === 'sad piano -female'", 5)
    page.wait(f"{ROWS} === 20 && !document.querySelector('#found-rows').hasAttribute('aria-busy')", 5)
    page.ask("history.back()")
    page.wait("document.querySelector('#found').hidden", 5)
    assert not page.problems


@pytest.mark.slow
def test_names_of_others_are_text(page, api, pictures):
    open_page(page, api.address, "#search?q=hostile&model=library")
    page.wait(f"{ROWS} === 20", 5)
    titles = page.ask("[...document.querySelectorAll('#found-rows .title')].slice(1, 6).map(e => e.textContent)")
    assert titles[:2] == list(HOSTILE[:2]) and titles[4] == HOSTILE[4]
    assert titles[2] == "gnp.exe rof dessim", "a name that turns its direction is shown in the order of its letters"
    assert len(titles[3]) == 300 and titles[3].endswith("…")
    page.ask("document.querySelector('#found-rows li:nth-child(2) button').click()")
    page.wait("!document.querySelector('#player').hidden", 5)
    assert page.ask("document.querySelector('#player-title').textContent") == HOSTILE_NAME
    page.ask("document.querySelector('#found-rows li:nth-child(2) .chip').click()")
    page.wait("document.querySelector('#found-title').textContent.includes('<img')", 5)
    assert page.count("img", "!e.closest('.brand')") == 0 and page.ask("document.title") != "owned"
    assert page.ask("document.documentElement.scrollWidth <= innerWidth")
    open_page(page, api.address, f"#search?q={'a' * 5000}&model=%3Cscript%3E&tag=%3Cimg%20src%3Dx%3E")
    page.wait(f"{ROWS} === 20", 5)
    assert page.ask("document.documentElement.scrollWidth <= innerWidth")
    assert "Nothing called <script> is served" in page.ask("document.querySelector('#problem').innerText")
    assert not [problem for problem in page.problems if "404" not in problem]


def test_tags_of_a_file_follow_the_player(page, api, recording, pictures):
    page.upload("#file", recording)
    page.wait("!document.querySelector('#heard').hidden", 10)
    asked = next(one for one in api.asked if one[1].endswith("/tags"))
    assert asked[:2] == ("POST", "/api/library/tags") and asked[2]["timeline"] == ["true"]
    assert "my song.wav" in asked[2]["body"][0]
    tags = page.ask("[...document.querySelectorAll('#heard-tags .tag-name')].map(e => e.innerText)")
    assert tags[:2] == ["rock", "piano"]
    page.wait("document.querySelectorAll('#alike-rows li').length === 10", 5)
    assert page.ask("document.activeElement.id") == "heard-play"
    page.press("Enter")
    page.wait("document.querySelector('#audio').currentTime > 0.3", 10)
    assert page.ask("document.querySelector('#now-live').innerText").startswith("rock")
    page.ask("document.querySelector('#timeline').focus()")
    page.press("End", "ArrowLeft")
    page.wait("Math.abs(document.querySelector('#audio').currentTime - 1) < 0.9", 5)
    page.ask("document.querySelector('#audio').pause()")
    page.press("End")
    page.wait("document.querySelector('#now').innerText.startsWith('piano')", 5)
    assert page.ask("document.querySelector('#timeline').getAttribute('aria-valuetext')").startswith("6 s: piano")
    box = page.ask("(b => [b.x, b.y, b.width])(document.querySelector('#timeline').getBoundingClientRect())")
    page.click(box[0] + box[2] - 2 - (box[2] - 150) / 2, box[1] + 60)
    page.wait("Math.abs(document.querySelector('#audio').currentTime - 3) < 0.1", 5)
    pictures(page, "file")
    assert not page.problems


@pytest.mark.slow
def test_what_a_model_cannot_do_is_not_shown(page, api):
    shown = "[...document.querySelectorAll('#views a:not([hidden])')].map(e => e.dataset.view)"
    assert page.ask(shown) == ["search", "map", "file", "playlist"]
    assert page.ask("[...document.querySelectorAll('#model option')].map(e => e.value)") == [
        "library",
        "words-only",
        "tagger",
    ]
    open_page(page, api.address, "#search?model=words-only&q=rock")
    page.wait(f"{ROWS} === 20", 5)
    assert page.ask(shown) == ["search", "playlist"]
    assert page.ask("document.querySelector('#listener-field').hidden")
    assert page.count("#found-rows [data-kind=like], #found-rows [data-kind=way]") == 0
    assert page.count("#found-rows [data-kind=add]") == 20
    open_page(page, api.address, "#search?model=tagger")
    assert page.ask("document.querySelector('#views').hidden") and not page.ask(
        "document.querySelector('#view-file').hidden"
    )
    api.only = ("library",)
    open_page(page, api.address)
    assert page.ask("document.querySelector('#model-field').hidden")


@pytest.mark.slow
def test_errors_are_shown_where_they_arise(page, api):
    open_page(page, api.address, "#search?q=-&model=library")
    page.wait("document.querySelector('#found-problem').innerText.includes('has a minus by itself')", 5)
    open_page(page, api.address, "#search?q=nothing")
    page.wait("document.querySelector('#found-status').innerText.includes('Nothing is left')", 5)
    api.fails["map"] = (503, "too many connections")
    open_page(page, api.address, "#map")
    page.wait("document.querySelector('#map-problem').innerText === 'Too many connections'", 5)


@pytest.mark.slow
def test_the_token_is_asked_for_once(page, api):
    api.token = "a token of somebody"
    open_page(page, api.address, "#search?q=rock&model=library")
    for wrong, text in ((True, "guessed"), (False, api.token)):
        page.wait("document.querySelector('#token-dialog').open && document.activeElement.id === 'token'", 5)
        page.write(text)
        page.press("Enter")
        if wrong:
            page.wait("!document.querySelector('#token-why').hidden", 5)
    page.wait(f"{ROWS} === 20", 5)
    page.ask("document.querySelector('#found-rows button').click()")
    page.wait("document.querySelector('#audio').currentTime > 0.1", 10)
    page.call("Page.reload")
    page.wait(f"{ROWS} === 20", 5)
    assert page.ask("sessionStorage.getItem('orpheus-token')") == api.token
    assert not page.ask("document.cookie + JSON.stringify(localStorage)").count(api.token)


@pytest.mark.slow
def test_a_file_is_dropped_anywhere(page, api, tmp_path, pictures):
    name = "<img src=x onerror=alert(1)>.wav"
    (tmp_path / name).write_bytes(tone(1))
    page.drop(600, 700, tmp_path / name)
    page.wait("!document.querySelector('#heard').hidden", 10)
    assert page.ask("document.querySelector('#heard-title').textContent") == name
    assert page.ask("location.hash").startswith("#file") and page.ask("document.querySelector('#veil').hidden")
    assert page.count("img", "!e.closest('.brand')") == 0
    pictures(page, "file-hostile")
    page.ask("(m => (m.value = 'tagger', m.dispatchEvent(new Event('change'))))(document.querySelector('#model'))")
    page.wait("!document.querySelector('#heard').hidden && document.querySelector('#alike').hidden", 10)
    assert [one[1] for one in api.asked if one[0] == "POST"][-1] == "/api/tagger/tags"
    api.timelines = False
    page.upload("#file", tmp_path / name)
    page.wait("document.querySelector('#now-word').innerText === 'Strongest'", 10)
    assert page.ask("document.querySelector('#now').innerText").startswith("<img")
    assert page.ask("document.querySelector('#timeline').getBoundingClientRect().height") < 60, "the outline only"
    api.fails["tags"] = (422, "not audio that can be read")
    page.upload("#file", tmp_path / name)
    page.wait("document.querySelector('#file-problem').innerText === 'Not audio that can be read'", 5)
    assert page.ask("document.querySelector('#heard').hidden")
