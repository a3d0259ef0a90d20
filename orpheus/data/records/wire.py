"""Where the audio lies in a serialised record, found in the graph: parsing copies all of it, for a window of it.

`format.encode` writes the fields in order of their names, so that a record begins

    tag length (features) · tag length (entry) · tag 5 "audio" · tag length (feature) · tag length (list) · tag n · audio

where a tag is one byte. The five lengths are numbers of seven bits a byte, lowest first, the top bit set in all bytes but
the last (https://protobuf.dev/programming-guides/encoding), and nearly always of as many bytes as each other.
"""

import tensorflow as tf

_LONGEST = 4  # bytes of a length: below 256 MB
_HEAD = 12 + 5 * _LONGEST
_PLACES = [128**digit for digit in range(_LONGEST)]
_KEY = list(b"\n\x05audio")
_BYTES = [bytes([value]) for value in range(256)]


def locate_audio(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Find the audio of records.

    Args:
        batch: (n,) serialised records.

    Returns:
        Whether all records begin as above, with lengths that agree with each other and with the record's size; else the
        rest means nothing. First byte of the audio and number of its bytes, (n,) int32.
    """
    zeros = tf.zeros(tf.shape(batch), tf.int32)
    head = tf.strings.substr(batch, zeros, zeros + _HEAD)
    head = tf.cast(tf.io.decode_raw(head, tf.uint8, fixed_length=_HEAD), tf.int32)
    width = 1 + tf.reduce_sum(tf.math.cumprod(tf.cast(head[:, 1:_LONGEST] > 127, tf.int32), axis=1), axis=1)
    start = 12 + 5 * width
    # Lengths of features, entry and audio, (n, 3, _LONGEST) bytes; those behind a length belong to what follows.
    first = tf.stack([tf.ones_like(width), 2 + width, 12 + 4 * width], axis=1)
    digit = tf.range(_LONGEST)
    digits = tf.gather(head, first[..., tf.newaxis] + digit, batch_dims=1)
    inside = digit < width[:, tf.newaxis, tf.newaxis]
    lengths = tf.reduce_sum(tf.where(inside, digits % 128 * _PLACES, 0), axis=2)
    features, entry, audio = tf.unstack(lengths, axis=1)
    last = tf.gather(digits, tf.repeat(width[:, tf.newaxis] - 1, 3, axis=1), batch_dims=2)
    key = tf.gather(head, (2 + 2 * width)[:, tf.newaxis] + tf.range(len(_KEY)), batch_dims=1)
    found = (
        tf.reduce_all(key == _KEY, axis=1)
        & tf.reduce_all(last < 128, axis=1)
        & (1 + width + features == tf.strings.length(batch))
        & (2 + 2 * width + entry == start + audio)
        & (start + audio <= tf.strings.length(batch))
    )
    return tf.reduce_all(found), start, audio


def without_audio(batch: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """(n,) records of the other fields, out of records whose audio ends before byte `end`; they are below 2 MB."""
    rest = tf.strings.length(batch) - end
    # A length may have more bytes than it needs.
    parts = [rest % 128 + 128, rest // 128 % 128 + 128, rest // 128**2]
    length = [tf.gather(tf.constant(_BYTES), part) for part in parts]
    return tf.strings.join([tf.fill(tf.shape(batch), b"\n"), *length, tf.strings.substr(batch, end, rest)])
