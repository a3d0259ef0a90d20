"""A local server that speaks as much of S3's protocol as TensorFlow's file system asks for, on loopback, in memory.

`python -m tests.s3` is no command: tests start `Server()` in a thread and hand `environment()` to processes.
"""

import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape


class Server:
    """Buckets with objects; every bucket exists.

    Attributes:
        objects: ``"bucket/key"`` → content.
        requests: ``"METHOD bucket/key"`` of every request, in order.
        refused: Regular expression of ``"METHOD bucket/key"`` that are answered by 403, or None.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.refused: str | None = None
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._lock = threading.Lock()
        server = self

        class Handler(_Handler):
            store = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """Variables for a process that is to use this server."""
        return {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "S3_ENDPOINT": f"http://127.0.0.1:{self._http.server_port}",
            "S3_USE_HTTPS": "0",
            "S3_VERIFY_SSL": "0",
        }

    def names(self, prefix: str) -> list[str]:
        """Keys that start with ``"bucket/prefix"``, without it, sorted."""
        return sorted(key.removeprefix(prefix) for key in self.objects if key.startswith(prefix))

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Server

    def _begin(self) -> tuple[str, dict[str, str], bytes]:
        """(bucket/key, query, body), noted."""
        url = urllib.parse.urlsplit(self.path)
        key = urllib.parse.unquote(url.path).lstrip("/")
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            body = _unchunked(body)
        with self.store._lock:
            self.store.requests.append(f"{self.command} {key}")
        return key, dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True)), body

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _is_refused(self, key: str) -> bool:
        if self.store.refused and re.search(self.store.refused, f"{self.command} {key}"):
            self._answer(403, b"<Error><Code>AccessDenied</Code><Message>refused by the test</Message></Error>")
            return True
        return False

    def do_HEAD(self) -> None:
        key, _, _ = self._begin()
        if self._is_refused(key):
            return
        content = self.store.objects.get(key)
        if content is None and "/" in key.rstrip("/"):
            self._answer(404)
        else:
            size = str(len(content or b""))
            self._answer(200, Content_Length=size, Last_Modified=_MODIFIED, ETag='"0"', Accept_Ranges="bytes")

    def do_GET(self) -> None:
        key, query, _ = self._begin()
        if self._is_refused(key):
            return
        if "/" not in key.rstrip("/"):
            self._answer(200, self._list(key.rstrip("/"), query), Content_Type="application/xml")
            return
        content = self.store.objects.get(key)
        if content is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")
            return
        common = {"Last_Modified": _MODIFIED, "ETag": '"0"', "Accept_Ranges": "bytes"}
        found = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not found:
            self._answer(200, content, **common)
            return
        first, last = int(found[1]), min(int(found[2] or len(content)), len(content) - 1)
        if first >= len(content):
            self._answer(416, b"<Error><Code>InvalidRange</Code><Message>none</Message></Error>")
        else:
            part = content[first : last + 1]
            self._answer(206, part, Content_Range=f"bytes {first}-{last}/{len(content)}", **common)

    def _list(self, bucket: str, query: dict[str, str]) -> bytes:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        most = int(query.get("max-keys", 1000))
        after = query.get("marker") or query.get("continuation-token") or ""
        entries: dict[str, str] = {}
        for key in self.store.names(f"{bucket}/"):
            rest = key.removeprefix(prefix)
            if not key.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folder = prefix + rest.split(delimiter)[0] + delimiter
                entries[folder] = f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>"
            else:
                size = len(self.store.objects[f"{bucket}/{key}"])
                entries[key] = (
                    f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                    f"<ETag>0</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
                )
        names = [name for name in sorted(entries) if name > after]
        cut = "true" if len(names) > most else "false"
        names = names[:most]
        last = escape(names[-1]) if names else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(names)}</KeyCount>"
            f"<MaxKeys>{most}</MaxKeys><IsTruncated>{cut}</IsTruncated><NextMarker>{last}</NextMarker>"
            f"<NextContinuationToken>{last}</NextContinuationToken>{''.join(map(entries.get, names))}</ListBucketResult>"
        ).encode()

    def do_PUT(self) -> None:
        key, query, body = self._begin()
        if self._is_refused(key):
            return
        source = self.headers.get("x-amz-copy-source")
        if source:
            body = self.store.objects[urllib.parse.unquote(source).lstrip("/")]
        if "partNumber" in query:
            self.store._uploads[query["uploadId"]][int(query["partNumber"])] = body
        else:
            self.store.objects[key] = body
        answer = f"<CopyObjectResult><ETag>0</ETag><LastModified>{_MODIFIED}</LastModified></CopyObjectResult>"
        self._answer(200, answer.encode() if source else b"", ETag='"0"')

    def do_POST(self) -> None:
        key, query, body = self._begin()
        if self._is_refused(key):
            return
        bucket, _, name = key.partition("/")
        if "uploads" in query:
            upload = str(len(self.store.requests))
            self.store._uploads[upload] = {}
            self._answer(
                200,
                f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(name)}</Key>"
                f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode(),
            )
        elif "uploadId" in query:
            parts = self.store._uploads.pop(query["uploadId"])
            self.store.objects[key] = b"".join(parts[number] for number in sorted(parts))
            self._answer(
                200,
                f"<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(name)}</Key><ETag>0</ETag>"
                "</CompleteMultipartUploadResult>".encode(),
            )
        elif "delete" in query:
            for found in re.findall(rb"<Key>(.*?)</Key>", body):
                self.store.objects.pop(f"{bucket}/{found.decode()}", None)
            self._answer(200, b"<DeleteResult></DeleteResult>")
        else:
            self._answer(400)

    def do_DELETE(self) -> None:
        key, query, _ = self._begin()
        if self._is_refused(key):
            return
        if "uploadId" in query:
            self.store._uploads.pop(query["uploadId"], None)
        else:
            self.store.objects.pop(key, None)
        self._answer(204)

    def log_message(self, *arguments) -> None:
        """Requests are kept in a list instead."""


_MODIFIED = "Thu, 01 Jan 2026 00:00:00 GMT"


def _unchunked(body: bytes) -> bytes:
    """The content of a body in aws-chunked encoding."""
    result = b""
    while body:
        head, _, body = body.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if not size:
            break
        result, body = result + body[:size], body[size + 2 :]
    return result
