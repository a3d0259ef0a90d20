"""What every request passes: who may ask, headers of all answers, the log and the metrics."""

import json
import logging
import re

import pytest

from orpheus.tasks.service import gate
from tests.tasks.service.conftest import client_of

TOKEN = "0123456789abcdef-TOKEN"
SEARCH, AUDIO = "/api/music/search?q=sad", "/api/music/songs/1/audio"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def guarded(fake_index, fake, tmp_path):
    """A service that others can reach too, and that wants a token."""
    with client_of([fake_index], tmp_path / "work", token=TOKEN, hosts=None) as found:
        yield found


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"])
def test_asked_under_a_name_of_this_computer(client, host):
    assert client.get(SEARCH, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "0.0.0.0"],
)
def test_a_name_of_somebody_elses_that_leads_here_is_refused(client, host):
    """As a page does whose name is bound to 127.0.0.1 after it has been loaded."""
    for path in (SEARCH, "/", "/health", "/nonsense"):
        answer = client.get(path, headers={"host": host})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "wrong_host")


def test_pages_of_other_sites_may_not_ask(client):
    for origin in ("https://evil.example", "null", "http://localhost:9", "http://[", ""):
        answer = client.post("/api/music/playlist", json={"numbers": [1]}, headers={"origin": origin})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "other_origin")
    assert (
        client.post("/api/music/playlist", json={"numbers": [1]}, headers={"origin": "http://localhost"}).status_code
        == 200
    )
    asked = client.options(SEARCH, headers={"origin": "http://localhost", "access-control-request-method": "GET"})
    assert "access-control-allow-origin" not in asked.headers


@pytest.mark.parametrize(
    "path", ["/", "/health", SEARCH, AUDIO, "/nonsense", "/static/style.css", "/api/music/search?k=0"]
)
def test_headers_of_every_answer(client, path):
    found = client.get(path).headers
    assert "default-src 'none'" in found["content-security-policy"] and "unsafe" not in found["content-security-policy"]
    assert found["x-content-type-options"] == "nosniff" and found["cross-origin-resource-policy"] == "same-origin"
    assert found["cache-control"] in ("no-store", "no-cache", "private, no-cache")


def test_a_token_is_needed_for_all_that_says_something_of_music(guarded):
    for path in ("/", "/health", "/docs", "/openapi.json", "/static/style.css"):
        assert guarded.get(path).status_code == 200
    for path in ("/api/models", SEARCH, AUDIO, "/metrics", "/api/nonsense", "/nonsense"):
        for headers in (
            {},
            {"authorization": f"Bearer {TOKEN}x"},
            {"authorization": TOKEN},
            {"authorization": "Bearer "},
            {"authorization": f"Basic {TOKEN}"},
        ):
            answer = guarded.get(path, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "no_token")
            assert answer.headers["www-authenticate"] == "Bearer" and TOKEN not in answer.text
    assert guarded.get(f"{SEARCH}&token={TOKEN}").status_code == 401  # addresses are written into logs
    answer = guarded.get(SEARCH, headers={**BEARER, "host": "music.example"})
    assert answer.status_code == 200


def test_a_cookie_is_good_for_audio_and_nothing_else(guarded, monkeypatch):
    cookie = guarded.get(SEARCH, headers=BEARER).headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and TOKEN not in cookie and "Path=/api" in cookie
    guarded.cookies.clear()
    value = cookie.partition(";")[0]
    assert guarded.get(AUDIO, headers={"cookie": value}).status_code == 200
    assert guarded.head(AUDIO, headers={"cookie": value}).status_code == 200
    for method, path in (("GET", SEARCH), ("GET", "/api/models"), ("POST", AUDIO), ("GET", "/metrics")):
        assert guarded.request(method, path, headers={"cookie": value}).status_code == 401
    until = re.search(r"=(\d+)\.", value)[1]
    name = value.partition("=")[0]
    forged = [
        value[:-1] + ("0" if value[-1] != "0" else "1"),
        value.replace(until, str(int(until) + 1)),
        f"{name}=",
        f"{name}=9999999999.",
        f"{name}=a.b",
        f"{name}={'9' * 50}.x",
        "=;=",
        f'{name}="\\',
    ]
    for wrong in forged:
        assert guarded.get(AUDIO, headers={"cookie": wrong}).status_code == 401, wrong
    now = gate.time.time()
    monkeypatch.setattr(gate.time, "time", lambda: now + 3601)
    assert guarded.get(AUDIO, headers={"cookie": value}).status_code == 401


def test_the_log_has_a_line_of_json_and_nothing_that_a_client_wrote(client, caplog):
    with caplog.at_level(logging.INFO, "orpheus"):
        client.get(SEARCH)
        client.get("/api/music/search?q=%0a%7B%22status%22:200%7D")
        client.request("EVIL", "/api/evil%1b[31m/evil")
        client.get("/evil-path", headers={"user-agent": "evil", "cookie": "evil", "referer": "evil"})
    lines = [json.loads(record.message) for record in caplog.records if record.name == gate.__name__]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("GET", "/api/{name}/search", 200),
        ("GET", "/api/{name}/search", 400),
        ("other", "unmatched", 404),
        ("GET", "unmatched", 404),
    ]
    assert all(set(line) == {"time", "method", "route", "status", "ms", "bytes"} for line in lines)
    assert lines[0]["bytes"] > 100 and lines[0]["ms"] > 0 and not re.search("evil|EVIL", str(lines))


def test_metrics_count_what_is_answered(client):
    for _ in range(3):
        client.get(SEARCH)
    client.get("/api/music/search?k=0")
    client.get("/nonsense/1")
    text = client.get("/metrics").text
    assert 'orpheus_requests_total{method="GET",route="/api/{name}/search",status="200"} 3.0' in text
    assert 'orpheus_requests_total{method="GET",route="/api/{name}/search",status="422"} 1.0' in text
    assert 'route="unmatched",status="404"} 1.0' in text and "nonsense" not in text
    assert 'orpheus_request_seconds_count{route="/api/{name}/search"} 4.0' in text
    assert 'orpheus_queue_length{queue="index music"} 0.0' in text and "orpheus_requests_under_way 1.0" in text


def test_the_description_says_what_is_answered(client):
    found = client.get("/openapi.json").json()
    assert found["openapi"].startswith("3.") and {"/health", "/api/{name}/search", "/api/{name}/tags"} <= set(
        found["paths"]
    )
    assert "HTTPValidationError" not in json.dumps(found)
    for path, operations in found["paths"].items():
        for operation in operations.values():
            assert {"200", "422", "429", "504"} <= set(operation["responses"]), path
            assert operation["summary"] and operation["tags"]
