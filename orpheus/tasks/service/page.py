"""The page for people and the description of the interface: files of the package."""

import mimetypes
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from orpheus.tasks.service import failures

_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def router(folder: Path) -> APIRouter:
    """Routes to the files of a folder: index.html, docs.html, and all of them under /static/."""
    found = APIRouter(include_in_schema=False)

    @found.get("/")
    async def index() -> Response:
        return _file(folder, "index.html")

    @found.get("/docs")
    async def docs() -> Response:
        return _file(folder, "docs.html")

    @found.get("/static/{name:path}")
    async def static(name: str) -> Response:
        return _file(folder, name)

    return found


def _file(folder: Path, name: str) -> Response:
    # Looked up among the files that are there, and not made into a path: none leads out of the folder.
    known = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    if name not in known:
        raise failures.missing("no such page")
    path = known[name]
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return FileResponse(path, headers={"cache-control": "no-cache"}, media_type=kind)
