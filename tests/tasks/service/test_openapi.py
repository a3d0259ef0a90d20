"""What schemathesis makes of the service's own description: whatever it asks, the answer is one that is described."""

import pytest

from orpheus.tasks.service.settings import Settings
from tests.tasks.service.running import running

# Instead of, or besides, what is drawn, in half of the questions: few of the others get as far as a search.
SENSIBLE = {"q": "guitar", "tag": "guitar", "song": 1, "start": 1, "end": 3}
RARE = {"listener", "history", "like", "without", "weight_listener", "weight_history", "weight_like", "layer", "hop"}


@pytest.fixture(scope="module")
def described(tagger_run, tagger_index, tmp_path_factory):
    """The description of a service of a tagger and an index."""
    import schemathesis

    settings = Settings(decoders=1, upload_bytes=1 << 16, uploads=64)
    with running([tagger_run, tagger_index], tmp_path_factory.mktemp("described") / "work", settings) as service:
        schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")
        schema.names = [tagger_run.name, tagger_index.name]
        yield schema


@pytest.mark.slow
def test_nothing_that_is_asked_is_a_defect_and_answers_are_as_described(described):
    """No 500; status, type and form of every answer are in the description."""
    from hypothesis import HealthCheck, given, seed, settings
    from hypothesis import strategies as st
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
    statuses: dict[str, set[int]] = {}
    for found in described.get_all_operations():
        operation = found.ok()

        def ask(case, name, helped):
            if name is not None and "name" in (case.path_parameters or {}):
                case.path_parameters["name"] = name
            if helped:
                case.query = {key: value for key, value in (case.query or {}).items() if key not in RARE} | SENSIBLE
                for key in {"number", "name"} & set(case.path_parameters or {}):
                    case.path_parameters[key] = {"number": 1, "name": described.names[1]}[key]
            answer = case.call_and_validate(checks=checks)
            statuses.setdefault(f"{case.method} {case.path}", set()).add(answer.status_code)

        bounded = settings(max_examples=20, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        names = st.sampled_from([None, *described.names])
        strategies = {"case": operation.as_strategy(), "name": names, "helped": st.booleans()}
        bounded(seed(1)(given(**strategies)(ask)))()
    assert len(statuses) >= 18
    assert all(200 in seen for path, seen in statuses.items() if "{" not in path), statuses
    assert sum(200 in seen for seen in statuses.values()) >= 14, statuses
    assert not any(status >= 500 for seen in statuses.values() for status in seen)
