"""The limits of a service, all in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Limits.

    Attributes:
        upload_bytes: Of an uploaded file.
        audio_seconds: Of what is decoded of a file.
        uploads: Uploads, and other requests that decode audio, under way at a time; more are told to come back (429).
        waiting: Requests that wait for an index; more are told to come back.
        decoders: Processes that decode.
        decode_seconds: A file may take, before its process is killed.
        request_seconds: An answer may take, from the end of the request on.
        receive_seconds: Between two pieces of a request that is being sent.
        send_seconds: Between two pieces of an answer that is being read.
        slowest_upload: Bytes a second, below which an upload is given up once it has had `receive_seconds`.
        connections: At a time; more are refused (503).
        batch_size: Windows per pass of a model.
    """

    upload_bytes: int = 100 << 20
    audio_seconds: float = 3600.0
    uploads: int = 16
    waiting: int = 256
    decoders: int = 2
    decode_seconds: float = 60.0
    request_seconds: float = 120.0
    receive_seconds: float = 15.0
    send_seconds: float = 60.0
    slowest_upload: int = 16 << 10
    connections: int = 512
    batch_size: int = 16
