"""What a decoder may do with a hostile file, as functions that decoding processes can import."""

import os
import time


def hang(*_: object) -> None:
    """Never end."""
    time.sleep(3600)


def crash(*_: object) -> None:
    """End as a segmentation fault does."""
    os.abort()


def swallow(*_: object) -> None:
    """Ask for more memory than there is."""
    bytearray(1 << 42)
