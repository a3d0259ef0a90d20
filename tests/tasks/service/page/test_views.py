"""Every view of the service's page: accessibility by axe, narrow windows, the map, playlists and what leads from song to song."""

import json
import time
from pathlib import Path

import axe_core_python
import numpy as np
import pytest

from tests.tasks.service import fake_api
from tests.tasks.service.page.conftest import open_page

pytestmark = pytest.mark.slow

ROWS = "document.querySelectorAll('#found-rows li').length"
VIEWS = {
    "start": "#search?model=library",
    "results": "#search?model=library&q=sad+piano&listener=listener+3&tag=rock&without=metal&diversity=0.3",
    "hostile": "#search?model=library&q=hostile",
    "problem": "#search?model=library&q=-",
    "path": "#search?model=library&start=3&end=9",
    "map": "#map?model=library&q=dream+pop",
    "file": "#file?model=library",
    "playlist": "#playlist?model=library",
    "suggestions": "#search?model=library&q=pi",
    "token": "#search?model=library",
}
AXE_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def show(page, api, recording, name):
    """Open a view with something in it: a song that plays, options, a file, a playlist."""
    if name == "token":
        page.ask("sessionStorage.clear()")
        api.token = "of somebody"
    open_page(page, api.address, VIEWS[name])
    if name in ("results", "hostile", "path", "map"):
        page.wait(f"document.querySelectorAll('#{'map' if name == 'map' else 'found'}-rows li').length > 5", 10)
        page.ask(
            f"document.querySelector('#{'map' if name == 'map' else 'found'}-rows li:nth-child(2) button').click()"
        )
        page.ask("document.querySelector('#options').open = true" if name == "results" else "")
    if name == "problem":
        page.wait("!document.querySelector('#found-problem').hidden", 10)
    if name == "map":
        page.wait("document.querySelector('#map-status').innerText === '50,000 songs'", 10)
    if name == "suggestions":
        page.ask("document.querySelector('#q').focus()")
        page.press("End", "ArrowDown")
        page.wait("!document.querySelector('#q-suggestions').hidden", 10)
        page.press("ArrowDown")
    if name == "token":
        page.wait("document.querySelector('#token-dialog').open", 10)
    if name == "file":
        page.upload("#file", recording)
        page.wait("document.querySelectorAll('#alike-rows li').length === 10", 10)
    if name == "playlist":
        songs = json.dumps([fake_api.song(number) for number in (3, 900, 12)])
        page.ask(f"sessionStorage.setItem('orpheus-playlist-library', {json.dumps(songs)})")
        open_page(page, api.address, VIEWS[name])
        page.wait("document.querySelectorAll('#playlist-rows li').length === 3", 10)
    page.wait("new Promise(done => setTimeout(() => done(true), 250))")  # colours change within 0.12 s


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(page, api, recording, pictures, theme):
    axe = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    page.prefer(color_scheme=theme)
    for name in VIEWS:
        if name in ("path", "problem"):  # made of the same parts as others
            continue
        show(page, api, recording, name)
        pictures(page, f"{name}-{theme}")
        page.call("Runtime.evaluate", expression=axe)
        options = json.dumps({"runOnly": AXE_RULES if theme == "light" else ["color-contrast"]})
        found = page.ask(
            f"axe.run(document, {options}).then(r => ({{checked: r.passes.length, wrong: r.violations.map(v =>"
            " `${v.id}: ${v.nodes.slice(0, 3).map(n => n.html + ' ' + n.failureSummary).join(' | ')}`)}))"
        )
        assert found["wrong"] == [] and found["checked"] >= (20 if theme == "light" else 1), name
    api.token = None
    open_page(page, api.address)
    page.ask("document.querySelector('#q').removeAttribute('id')")
    page.call("Runtime.evaluate", expression=axe)
    wrong = page.ask("axe.run().then(r => r.violations.map(v => v.id))")
    assert "label" in wrong, "a field without its label is found"


def test_a_narrow_window_needs_no_sideways_scrolling(page, api, recording, pictures):
    page.size(360, 780)
    for name in VIEWS:
        show(page, api, recording, name)
        pictures(page, f"{name}-narrow")
        wide = page.ask(
            "[...document.querySelectorAll('main *, header *, footer *')].filter(e => e.checkVisibility() &&"
            " e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.visually-hidden, [role=listbox], nav'))"
            ".map(e => e.outerHTML.slice(0, 100))"
        )
        assert wide == [] and page.ask("document.documentElement.scrollWidth <= innerWidth"), name


def test_the_switch_turns_the_theme_and_it_is_kept(page, api):
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.ask(paper)
    for _ in range(2):
        page.ask("document.querySelector('#theme').click()")
    dark = page.ask(paper)
    assert dark != light and page.ask("document.querySelector('#theme').ariaLabel") == "Theme: dark; change it"
    open_page(page, api.address)
    assert page.ask(paper) == dark


def test_points_are_found_as_by_looking_at_all(page):
    rng = np.random.default_rng(0)
    places = fake_api.places(2000)
    spots = rng.uniform(-1.1, 1.1, (200, 2)).astype(np.float32)
    page.ask(
        "import('/static/points.js').then(({Points}) => { window.points = new Points("
        f"Uint32Array.from({{length: 2000}}, (_, i) => i + 7), Float32Array.from({places.ravel().tolist()}), () => 0); }})"
    )
    found = page.ask(
        f"{spots.tolist()}.map(([x, y]) => points.nearest(x, y, 0.05)).map(at => at < 0 ? -1 : points.numbers[at] - 7)"
    )
    distances = np.linalg.norm(spots[:, None].astype(float) - places[None].astype(float), axis=2)
    expected = np.where(distances.min(axis=1) <= 0.05, distances.argmin(axis=1), -1)
    np.testing.assert_array_equal(found, expected)
    assert 20 < (expected >= 0).sum() < 180
    assert page.ask("[points.numbers[points.find(907)], points.find(5)]") == [907, -1]


def test_points_are_drawn_where_they_are(page):
    page.ask(
        "import('/static/points.js').then(({Points, pixel}) => { const p = new Points(Uint32Array.of(0, 1),"
        " Float32Array.of(0.5, 0.5, -0.5, 0), (x) => x > 0 ? 1 : 0); window.drawn = new Uint32Array(100 * 100);"
        " p.draw(drawn, 100, 100, {x: 0, y: 0, scale: 50}, {colours: [pixel('#ff0000'), pixel('#00ff40')],"
        " background: pixel('#000000'), radius: 2, opacity: 1}); })"
    )
    drawn = np.array(page.ask("[...drawn]"), np.uint32).view(np.uint8).reshape(100, 100, 4)
    assert drawn[25, 75, :3].tolist() == [0, 255, 64] and drawn[50, 25, :3].tolist() == [255, 0, 0]
    rows, columns = np.nonzero(drawn[..., 0])
    weights = drawn[rows, columns, 0].astype(float)
    # A disc of radius 2 with soft edges, in the middle of the quarter of a pixel where its place lies.
    assert abs(weights.sum() / 255 - np.pi * 4) < 0.8
    assert (
        abs(np.average(columns + 0.5, weights=weights) - 25) < 0.2
        and abs(np.average(rows + 0.5, weights=weights) - 50) < 0.2
    )
    assert (drawn[..., 3] == 255).all()


def test_the_map_moves_and_plays(page, api, pictures):
    open_page(page, api.address, "#map?model=library&q=sad")
    page.wait("document.querySelector('#map-status').innerText === '50,000 songs'", 10)
    x, y, width, height = page.ask(
        "(b => [b.x, b.y, b.width, b.height])(document.querySelector('#map').getBoundingClientRect())"
    )
    middle_x, middle_y = x + width / 2, y + height / 2
    picture = "document.querySelector('#map').toDataURL()"
    before = page.ask(picture)
    page.ask(
        "window.times = []; const raf = requestAnimationFrame; window.requestAnimationFrame = run => raf(at => {"
        " const began = performance.now(); run(at); times.push(performance.now() - began); })"
    )
    for at in range(25):
        page.wheel(middle_x + at, middle_y, down=-60 if at < 15 else 60)
    page.wait("times.length >= 15", 20)
    times = page.ask("times")
    print(f"frames of 50,000 points: median {np.median(times):.1f} ms, worst {max(times):.1f} ms")
    assert np.median(times) < 50
    assert page.ask(picture) != before

    place = fake_api.places(50_000)[17]  # where the mouse finds a song: put the map's middle on it
    page.ask("document.querySelector('#zoom-all').click()")
    scale = 0.47 * min(width, height)
    spot = [middle_x + float(place[0]) * scale, middle_y - float(place[1]) * scale]
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=spot[0] - 3, y=spot[1])
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=spot[0], y=spot[1])
    page.wait("!document.querySelector('#map-song').hidden", 5)
    name = page.ask("document.querySelector('#map-song strong').innerText")
    pictures(page, "map-song")
    page.click(*spot)
    page.wait(f"document.querySelector('#player-title').innerText === {json.dumps(name)}", 5)
    page.wait("document.querySelector('#audio').currentTime > 0.1", 10)

    page.ask("document.querySelector('#map').focus()")
    page.press("ArrowRight", "ArrowDown", "ArrowLeft")
    page.wait("document.querySelector('#map-live').innerText.length > 3", 5)
    said = page.ask("document.querySelector('#map-live').innerText")
    page.press("Enter")
    page.wait(f"{json.dumps(said)}.startsWith(document.querySelector('#player-title').innerText)", 5)
    page.ask("document.querySelector('#map-list-link').click()")
    assert page.ask("document.activeElement.id") == "map-rows-title"
    assert not page.problems


def test_two_fingers_zoom_the_map(page, api):
    open_page(page, api.address, "#map?model=library")
    page.wait("document.querySelector('#map-status').innerText === '50,000 songs'", 10)
    x, y, width = page.ask("(b => [b.x, b.y, b.width])(document.querySelector('#map').getBoundingClientRect())")
    picture = "document.querySelector('#map').toDataURL()"
    before = page.ask(picture)
    for kind, gap in (("touchStart", 40), ("touchMove", 80), ("touchMove", 160), ("touchEnd", None)):
        points = (
            []
            if gap is None
            else [{"x": x + width / 2 + side * gap, "y": y + 200, "id": at} for at, side in enumerate((-1, 1))]
        )
        page.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    page.wait(f"{picture} !== {json.dumps(before)}", 5)
    assert page.ask("document.querySelector('#player').hidden"), "a pinch is not a press"


def test_from_song_to_song_and_into_a_playlist(page, api, tmp_path):
    open_page(page, api.address, "#search?q=rock&model=library&artists_once=true")
    page.wait(f"{ROWS} === 20", 5)
    way = "document.querySelector('#found-rows li:nth-child(5) [data-kind=way]')"
    assert page.ask(f"{way}.hidden"), "there is no way before a song has been played"
    page.ask("document.querySelector('#found-rows li:nth-child(2) button').click()")
    page.wait(f"!{way}.hidden", 5)
    page.ask(f"{way}.click()")
    page.wait(f"{ROWS} === 10", 5)  # the two, and 8 between them
    assert api.asked[-1][1:] == ("/api/library/path", {"start": ["13"], "end": ["16"], "steps": ["8"]})
    title = page.ask("document.querySelector('#found-title').innerText")
    assert title.startswith("On the way from Amber 13") and "Embers" not in title
    page.ask("document.querySelector('#found-rows li:nth-child(3) [data-kind=like]').click()")
    page.wait(f"{ROWS} === 20", 5)
    assert api.asked[-1][1:] == ("/api/library/similar", {"k": ["20"], "artists_once": ["true"], "song": ["101"]})
    assert page.ask("document.activeElement.id") == "found-title"
    for row in (4, 2, 4, 6):
        page.ask(f"document.querySelector('#found-rows li:nth-child({row}) [data-kind=add]').click()")
    assert page.ask("document.querySelector('#playlist-count').innerText") == "2"
    page.ask("document.querySelector('#views a[data-view=playlist]').click()")
    page.wait("!document.querySelector('#view-playlist').hidden", 5)
    page.ask("document.querySelector('#playlist-rows li:nth-child(2) [data-kind=up]').click()")
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.ask("document.querySelector('#download').click()")
    page.wait("document.querySelector('#said').innerText.includes('downloaded')", 5)
    assert json.loads(api.asked[-1][2]["body"][0]) == {"numbers": [205, 201]}
    deadline = time.monotonic() + 10
    while not (tmp_path / "playlist.m3u8").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "playlist.m3u8").read_text() == "#EXTM3U\n/music/205.wav\n/music/201.wav\n"
    page.ask("document.querySelector('#mine').click()")
    page.wait("document.querySelector('#found-title').innerText === 'Songs that go with your playlist'", 5)
    page.wait("!document.querySelector('#found-rows').ariaBusy", 5)
    history = {"history": ["/music/205.wav", "/music/201.wav"], "k": ["20"], "artists_once": ["true"]}
    assert api.asked[-1][1:] == ("/api/library/recommend", history)


def test_a_listener_filters_and_weights_are_asked_for(page, api):
    page.ask("document.querySelector('#listener').focus()")
    page.write("listener 29")
    page.wait("document.querySelectorAll('#listener-suggestions li').length === 8", 5)
    page.press("ArrowDown", "ArrowDown", "Enter", "Enter")
    page.wait(f"{ROWS} === 20", 5)
    assert api.asked[-1][1:] == ("/api/library/recommend", {"k": ["20"], "listener": ["listener 290"]})
    page.ask("document.querySelector('#q').focus()")
    page.write("rock")
    page.press("Enter")
    page.wait("!document.querySelector('#weights').hidden", 5)
    page.ask("document.querySelector('#options').open = true, document.querySelector('#weight-words').focus()")
    page.press("ArrowLeft", "ArrowLeft", "ArrowLeft")
    page.ask("document.querySelector('#q').value = 'rock music'")  # not sent yet
    page.ask("document.querySelector('#with-tag').focus()")
    page.write("jazz")
    page.press("Escape", "Enter")
    page.ask("document.querySelector('#include-heard').click()")
    page.wait("location.hash.includes('include_heard')", 5)
    page.wait(f"{ROWS} === 20 && !document.querySelector('#found-rows').ariaBusy", 5)
    expected = {
        "k": ["20"],
        "q": ["rock music"],
        "listener": ["listener 290"],
        "tag": ["jazz"],
        "weight_words": ["0.7"],
    }
    assert api.asked[-1][1:] == ("/api/library/search", {**expected, "include_heard": ["true"]})
    page.ask("document.querySelector('#more').click()")
    page.wait(f"{ROWS} === 40", 5)
    page.ask("document.querySelector('#with-tags button').click()")
    page.wait(f"{ROWS} === 20", 5)
    assert "tag" not in api.asked[-1][2]


def test_a_number_is_another_song_in_another_index(page, api):
    """The heading names the song of the index that is asked, and not that of this number in the one before."""
    named = [("GET", f"/api/{name}/songs/200", {}) for name in ("library", "words-only")]
    open_page(page, api.address, "#search?model=library&like=200")
    page.wait(f"{ROWS} === 20 && document.querySelector('#found-title').innerText.includes('200')", 5)
    assert named[0] in api.asked and named[1] not in api.asked
    page.ask("location.hash = '#search?model=words-only&like=200'")
    page.wait(f"{ROWS} === 20 && !document.querySelector('#found-rows').ariaBusy", 5)
    page.wait("document.querySelector('#model').value === 'words-only'", 5)
    deadline = time.monotonic() + 5
    while named[1] not in api.asked and time.monotonic() < deadline:
        time.sleep(0.05)
    assert named[1] in api.asked


def test_the_least_weight_is_one_that_the_service_takes(page):
    """It is above 0 there: what is not to count is not asked for."""
    for part in ("words", "listener"):
        page.ask(f"document.querySelector('#weight-{part}').value = 0")
        assert page.ask(f"document.querySelector('#weight-{part}').value") == "0.1"
