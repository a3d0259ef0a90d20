"""Headless Chromium through its debugging pipe, for tests of pages: load, wait, ask, click, take a picture. No network."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Keys by name: the code that Windows has for them, and the text that they give.
_KEYS = {
    "Backspace": (8, ""),
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    " ": (32, " "),
    "PageUp": (33, ""),
    "PageDown": (34, ""),
    "End": (35, ""),
    "Home": (36, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
}


class Browser:
    """One page of a running browser; requests to other hosts than this one fail."""

    def __init__(self, process: subprocess.Popen, commands: int, answers: int):
        self.process, self.commands, self.answers = process, commands, answers
        self.buffer, self.number, self.session = b"", 0, None
        self.problems: list[str] = []  # exceptions and errors on the console

    def call(self, method: str, timeout: float = 60, **params: Any) -> dict:
        """One command of the DevTools protocol, and its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + timeout
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            if answer.get("method") == "Runtime.exceptionThrown":
                details = answer["params"]["exceptionDetails"]
                self.problems.append(details.get("exception", {}).get("description") or details["text"])
            elif answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
                entry = answer["params"]["entry"]
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")

    def _receive(self, deadline: float) -> dict:
        while b"\0" not in self.buffer:
            if not select.select([self.answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            block = os.read(self.answers, 1 << 20)
            if not block:
                raise RuntimeError("the browser has ended")
            self.buffer += block
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def open(self, address: str | Path) -> None:
        """Load a page (a path is a file's) and wait for its load event's state."""
        self.problems.clear()
        address = address.resolve().as_uri() if isinstance(address, Path) else address
        found = self.call("Page.navigate", url=address)
        assert "errorText" not in found, f"{address}: {found['errorText']}"
        self.wait("document.readyState === 'complete'")

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, JSON-able, promises awaited."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']['exception'].get('description')}")
        return found["result"].get("value")

    def wait(self, expression: str, timeout: float = 60) -> Any:
        """Ask until the answer is true."""
        deadline = time.monotonic() + timeout
        while not (value := self.ask(expression)):
            assert time.monotonic() < deadline, f"after {timeout} s still not: {expression}"
            time.sleep(0.1)
        return value

    def text(self) -> str:
        """All text of the page, that in shadow trees and in frames included."""
        return self.ask(
            "(function deep(n) { if (!n || /^(STYLE|SCRIPT|TEMPLATE)$/.test(n.tagName)) return '';"
            " if (n.nodeType === 3) return n.data + ' ';"
            " const inside = n.tagName === 'IFRAME' ? [n.contentDocument] : [n.shadowRoot, ...n.childNodes];"
            " return inside.map(deep).join(''); })(document)"
        )

    def count(self, selector: str, condition: str = "true") -> int:
        """Elements of a selector, those in shadow trees and frames included, for which an expression of ``e`` is true."""
        return self.ask(
            "(function deep(n) { if (!n || !n.querySelectorAll) return 0;"
            f" let found = [...n.querySelectorAll({json.dumps(selector)})].filter(e => {condition}).length;"
            " for (const e of n.querySelectorAll('*')) found += deep(e.shadowRoot) + deep(e.contentDocument);"
            " return found; })(document)"
        )

    def wait_text(self, *words: str, timeout: float = 60) -> str:
        """Wait until all of these are somewhere on the page, in whatever case; returns its text in lower case."""
        deadline = time.monotonic() + timeout
        while missing := [w for w in words if w.casefold() not in (text := " ".join(self.text().casefold().split()))]:
            assert time.monotonic() < deadline, f"after {timeout} s the page lacks {missing}; it says: {text[:2000]}"
            time.sleep(0.3)
        return text

    def click(self, x: float, y: float) -> None:
        """A click of the left button, in CSS pixels of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def wheel(self, x: float, y: float, *, down: float = 0, right: float = 0) -> None:
        """A turn of the wheel."""
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=right, deltaY=down)

    def upload(self, selector: str, *paths: Path) -> None:
        """Choose files in the file field of a selector."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        field = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=field, files=[str(path) for path in paths])

    def drop(self, x: float, y: float, *paths: Path) -> None:
        """Drag files into the window and let them fall, in CSS pixels."""
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def write(self, text: str) -> None:
        """Type a text into what has the focus, letter by letter."""
        for letter in text:
            self.call("Input.dispatchKeyEvent", type="keyDown", key=letter, text=letter)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=letter)

    def press(self, *keys: str) -> None:
        """Press keys by their names: Enter, Tab, ArrowDown, Home …"""
        for key in keys:
            code, text = _KEYS.get(key, (0, ""))
            about = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self.call("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
            self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def size(self, width: int, height: int) -> None:
        """Another size of the window, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, **features: str) -> None:
        """What the reader's system prefers: color_scheme="dark", reduced_motion="reduce"."""
        named = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=named)

    def picture(self, path: Path) -> Path:
        """A PNG of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return path


def executable() -> str:
    """Chromium, by $CHROMIUM or by name; where there is none the test is skipped, and loudly."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        message = "CHROMIUM MISSING: pages were not loaded in a browser (apt-get install chromium, or set CHROMIUM)"
        print(f"\n*** {message} ***", file=sys.stderr)
        pytest.skip(message)
    return found


@contextlib.contextmanager
def running(profile: Path, *, width: int = 1280, height: int = 900) -> Iterator[Browser]:
    """A headless browser with an empty profile, ended afterwards."""
    program = executable()
    to_browser, commands = os.pipe()
    answers, from_browser = os.pipe()
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-extensions",
        "--disable-background-networking",
        "--mute-audio",
        "--autoplay-policy=no-user-gesture-required",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--enable-unsafe-swiftshader",
        f"--user-data-dir={profile}",
        f"--window-size={width},{height}",
        "--remote-debugging-pipe",
        "about:blank",
    ]
    # The pipe is file descriptors 3 and 4 of the browser; a shell puts them there.
    shell = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
    process = subprocess.Popen(
        ["bash", "-c", shell, program, *options],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        browser = Browser(process, commands, answers)
        page = next(t for t in browser.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        browser.session = browser.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            browser.call(f"{domain}.enable")
        browser.size(width, height)
        yield browser
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(commands)
        os.close(answers)
