"""The description of the interface in a browser, before the real service: every operation is there, readable by everybody."""

from pathlib import Path

import axe_core_python
import pytest

from orpheus.tasks.service.settings import Settings
from tests.tasks.service.running import running

AXE = Path(axe_core_python.__file__).parent / "axe.min.js"


@pytest.mark.slow
def test_every_operation_is_described_light_and_dark(fake_index, fake, tmp_path, chromium, pictures):
    with running([fake_index], tmp_path / "work", Settings(decoders=0)) as service:
        for theme in ("light", "dark"):
            chromium.size(1000, 900)
            chromium.prefer(color_scheme=theme)
            chromium.open(f"http://127.0.0.1:{service.port}/docs")
            chromium.wait("!document.querySelector('#operations').ariaBusy", 20)
            assert chromium.ask("document.querySelector('#problem').hidden")
            operations = chromium.ask(
                "[...document.querySelectorAll('details summary')].map(e => e.innerText).join('\\n')"
            )
            for path in ("/api/models", "/api/{name}/search", "/api/{name}/tags", "/api/{name}/map", "/health"):
                assert path in operations
            chromium.ask(
                "document.querySelectorAll('details').forEach(e => { e.open = e.innerText.includes('/search') })"
            )
            shown = chromium.ask("document.querySelector('details[open]').innerText")
            assert "weight_words" in shown and "1 to 200; default 20" in shown and '"hits"' in shown and "429" in shown
            chromium.call("Runtime.evaluate", expression=AXE.read_text(encoding="utf-8"))
            wrong = chromium.ask("axe.run().then(r => r.violations.map(v => v.id + ' ' + v.nodes[0].html))")
            assert wrong == []
            pictures(chromium, f"docs-{theme}")
