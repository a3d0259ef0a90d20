"""The application: routes, errors, and what starts and ends with it."""

import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import Response

import orpheus
from orpheus.errors import ConfigError, DataError
from orpheus.tasks.service import answers, failures, page, routes, uploaded
from orpheus.tasks.service.gate import LOOPBACK, Gate, error_response
from orpheus.tasks.service.served import Parts

_SAID = "Tags, search and similar songs of the runs and indexes that are served here."


def build(
    served: Mapping[str, Any],
    parts: Parts,
    *,
    token: str | None = None,
    hosts: frozenset[str] | None = LOOPBACK,
) -> FastAPI:
    """The application, without a server.

    Args:
        served: Runs and indexes by name, of `orpheus.tasks.service.served.open_all`.
        parts: What they share.
        token: That requests must know; None for none.
        hosts: Names under which it may be asked; None for any.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        parts.start()
        yield
        for one in served.values():
            await anyio.to_thread.run_sync(one.close)
        await anyio.to_thread.run_sync(parts.close)

    app = FastAPI(
        title="orpheus",
        version=orpheus.__version__,
        description=_SAID,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses=routes.ERRORS,
    )
    app.state.served, app.state.parts = dict(served), parts
    began = time.monotonic()

    @app.get("/health", summary="That the service is alive", tags=["service"])
    async def health() -> answers.Health:
        return answers.Health(status="ok", models=len(served), uptime_seconds=round(time.monotonic() - began, 3))

    @app.get(
        "/metrics",
        summary="Figures for Prometheus",
        tags=["service"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        return Response(parts.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    secured: Sequence[Any] = [Depends(HTTPBearer(auto_error=False))] if token else []
    app.include_router(routes.router, dependencies=secured)
    app.include_router(uploaded.router, dependencies=secured)
    app.include_router(page.router(Path(page.__file__).parent / "page"))
    # A run that is served itself has its own name, and not that of an index made with it.
    ordered = sorted(served.values(), key=lambda one: one.kind)
    _handle_errors(app, {path: one.name for one in ordered for path in one.paths()})
    app.add_middleware(Gate, metrics=parts.metrics, settings=parts.settings, token=token, hosts=hosts)
    return app


def _handle_errors(app: FastAPI, names: Mapping[str, str]) -> None:
    """Every error is of one shape, and names what is served instead of its paths (`names`: path → name)."""

    @app.exception_handler(failures.Failure)
    async def failed(_: Request, failure: failures.Failure) -> Response:
        failure.message = failures.public(failure.message, names)
        return error_response(failure)

    @app.exception_handler(ConfigError)
    @app.exception_handler(DataError)
    async def refused(_: Request, error: Exception) -> Response:
        return error_response(failures.Failure(400, "refused", failures.public(str(error), names)))

    @app.exception_handler(failures.Gone)
    async def gone(_: Request, error: failures.Gone) -> Response:
        return Response(status_code=499)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return error_response(failures.Failure(422, "invalid", f"{where}: {first['msg']}"))

    @app.exception_handler(HTTPException)
    async def refused_by_framework(_: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        return error_response(failures.Failure(error.status_code, code, str(error.detail), headers=error.headers))
