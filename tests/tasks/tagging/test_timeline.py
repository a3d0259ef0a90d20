"""The page of tags over time: what is in it, and (slow) that it draws, seeks, zooms and plays in a browser."""

import base64
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from orpheus.errors import ConfigError
from orpheus.tasks.tagging import timeline
from tests import browser


class Prediction:
    """Six windows of two seconds, a second apart: "rising" grows, "falling" falls, "loud" is at the fourth only."""

    classes = ("rising", "quiet", "falling", 'a </script> & "b"')
    starts = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 4.6])
    window_seconds = 2.0
    scores = np.stack([np.linspace(0, 1, 6), np.full(6, 0.01), np.linspace(0.9, 0, 6), [0, 0, 0, 0.8, 0, 0]], axis=1)


class Tags(HTMLParser):
    """The start tags of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def page(tmp_path) -> Path:
    """A page beside a folder of audio whose name needs quoting."""
    audio = tmp_path / "my music" / "Ä & b#1.wav"
    audio.parent.mkdir()
    time = np.arange(int(6.6 * 8000)) / 8000
    soundfile.write(audio, 0.1 * np.sin(2 * np.pi * 440 * time), 8000)
    (tmp_path / "pages").mkdir()
    timeline.write(tmp_path / "pages/one.html", Prediction, audio, top=3)
    return tmp_path / "pages/one.html"


def content(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])


def test_holds_the_strongest_tags_of_every_window(page):
    data = content(page)
    assert data["tags"] == ["rising", "falling", 'a </script> & "b"']
    assert data["starts"] == Prediction.starts.tolist() and data["window"] == 2.0
    levels = np.frombuffer(base64.b64decode(data["levels"]), np.uint8).reshape(3, 6) / 255
    np.testing.assert_allclose(levels, Prediction.scores[:, [0, 2, 3]].T, atol=0.5 / 255 + 1e-9)


def test_is_self_contained_and_finds_the_audio(page):
    text = page.read_text(encoding="utf-8")
    found = Tags(text).found
    [(_, audio)] = [one for one in found if one[0] == "audio"]
    assert audio["src"] == "../my%20music/%C3%84%20%26%20b%231.wav"
    for tag, attributes in found:
        assert tag not in ("link", "iframe", "object"), tag
        assert not (attributes.keys() & {"href", "srcset"}), tag
        assert "src" not in attributes or tag == "audio"
    assert not re.search(r"https?://|@import|url\(", text)
    assert "<title>Ä &amp; b#1.wav</title>" in text


def test_audio_inside(page, monkeypatch):
    audio = page.parent.parent / "my music" / "Ä & b#1.wav"
    timeline.write(page, Prediction, audio, embed=True, title="<b>")
    text = page.read_text(encoding="utf-8")
    kind, inside = re.search(r'src="data:([^;]*);base64,([^"]*)"', text).groups()
    assert kind.startswith("audio/") and base64.b64decode(inside) == audio.read_bytes()
    assert "<h1>&lt;b&gt;</h1>" in text
    monkeypatch.setattr(timeline, "MAX_EMBEDDED", 1000)
    with pytest.raises(ConfigError, match="too many to embed"):
        timeline.write(page, Prediction, audio, embed=True)


@pytest.mark.slow
def test_in_a_browser(page, tmp_path):
    pictures = Path(os.environ.get("ORPHEUS_PICTURES") or tmp_path)
    with browser.running(tmp_path / "profile", width=1000, height=420) as tab:
        tab.open(page)
        tab.wait("audio.readyState > 0")
        assert tab.ask("audio.duration") == pytest.approx(6.6, abs=0.01)
        box = tab.ask("(r => [r.left, r.top, r.width, r.height])(rows.getBoundingClientRect())")
        left, top, wide = box[0] + 150, box[1], box[2] - 150

        def pixel(tag: int, seconds: float) -> list[int]:
            x = 150 + wide * (seconds - tab.ask("from")) / tab.ask("to - from")
            return tab.ask(f"[...rows.getContext('2d').getImageData({x}, {tag * 24 + 8}, 1, 1).data]")

        # Colour rises with probability, in the row of its tag and at its time.
        assert [pixel(0, s)[0] for s in (0.5, 1.5, 2.5, 3.5, 4.3, 5)] == sorted(
            pixel(0, s)[0] for s in (0.5, 1.5, 2.5, 3.5, 4.3, 5)
        )
        assert pixel(2, 3.5)[0] > 200 > 50 > pixel(2, 2.5)[0] and pixel(1, 0.5)[0] > pixel(1, 5.5)[0]
        tab.click(left + wide / 2, top + 10)
        tab.wait("Math.abs(audio.currentTime - 3.3) < 0.05")
        assert tab.ask("parseFloat(head.style.left)") == pytest.approx(150 + wide / 2, abs=2)
        assert tab.ask("by('now').textContent") == "0:03 / 0:06"
        tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=left + wide * 0.99, y=top + 10)
        tab.wait("by('said').textContent === 'rising 1.00 at 0:06'")
        tab.wheel(left + wide / 2, top + 10, down=-400)
        tab.wait("to - from < 3")
        assert tab.ask("from") < 3.3 < tab.ask("to")
        assert pixel(2, 3.5)[0] > 200
        tab.picture(pictures / "timeline.png")
        tab.ask("audio.play()")
        tab.wait("time > 4.8 && from > 3")  # it moves along, and the map with it
        tab.ask("audio.pause()")
        assert not tab.problems
        (page.parent.parent / "my music").rename(tmp_path / "elsewhere")
        tab.open(page)
        tab.wait("!by('missing').hidden")
        tab.click(left + wide / 2, tab.ask("rows.getBoundingClientRect().top") + 10)
        assert tab.ask("time") == pytest.approx(3.3, abs=0.05)  # still readable without sound
