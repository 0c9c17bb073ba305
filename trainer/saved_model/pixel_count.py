"""The number of pixels that an encoded image announces, from its header, inside the graph.

A PNG of 40 kB can announce 20,000 x 20,000 pixels; decoding it takes gigabytes. The served model reads the header first
and refuses what preprocessing refuses. It uses old operations only: TensorFlow 2.15 loads the export.
"""

import tensorflow as tf

from beam_preprocess.format.image_entries import MAX_PIXELS

LIMIT = MAX_PIXELS

_PNG, _GIF, _BMP, _RIFF = b"\x89PNG", b"GIF8", b"BM", b"RIFF"


def announced_pixels(encoded: tf.Tensor) -> tf.Tensor:
    """int64 scalar: width times height in the header of a JPEG, PNG, GIF, BMP or WebP; 0 for anything else.

    Raises:
      InvalidArgumentError: when it runs, for a JPEG whose header cannot be parsed.
    """
    head = tf.strings.substr(encoded, 0, 32)
    # Zeros behind a short file: its decoder reports what is wrong.
    head = tf.strings.substr(tf.strings.join([head, tf.constant(bytes(32))]), 0, 32)
    values = tf.cast(tf.io.decode_raw(head, tf.uint8), tf.int64)

    def little(at: int, count: int) -> tf.Tensor:
        return tf.reduce_sum(values[at : at + count] * [1 << (8 * i) for i in range(count)])

    def big(at: int) -> tf.Tensor:
        return tf.reduce_sum(values[at : at + 4] * [1 << (8 * i) for i in (3, 2, 1, 0)])

    def begins(magic: bytes) -> tf.Tensor:
        return tf.equal(tf.strings.substr(head, 0, len(magic)), magic)

    def signed(at: int) -> tf.Tensor:
        """The absolute value of 32 bits; BMP writes a negative height for rows from top to bottom."""
        value = little(at, 4)
        return tf.minimum(value, (1 << 32) - value)

    def webp() -> tf.Tensor:
        kind = tf.strings.substr(head, 12, 4)
        bits = little(21, 4)
        lossless = ((bits & 0x3FFF) + 1) * ((tf.bitwise.right_shift(bits, 14) & 0x3FFF) + 1)
        extended = (little(24, 3) + 1) * (little(27, 3) + 1)
        lossy = (little(26, 2) & 0x3FFF) * (little(28, 2) & 0x3FFF)
        return tf.where(kind == b"VP8X", extended, tf.where(kind == b"VP8L", lossless, lossy))

    def jpeg() -> tf.Tensor:
        shape = tf.cast(tf.io.extract_jpeg_shape(encoded), tf.int64)
        return shape[0] * shape[1]

    return tf.case(
        [
            (begins(b"\xff\xd8"), jpeg),
            (begins(_PNG), lambda: big(16) * big(20)),
            (begins(_GIF), lambda: tf.maximum(little(6, 2) * little(8, 2), _largest_frame(encoded))),
            (begins(_BMP), lambda: signed(18) * signed(22)),
            (begins(_RIFF), webp),
        ],
        default=lambda: tf.zeros([], tf.int64),
    )


def _largest_frame(encoded: tf.Tensor) -> tf.Tensor:
    """int64 scalar: pixels of a GIF's largest frame. TensorFlow allocates it for the first frame, too.

    https://www.w3.org/Graphics/GIF/spec-gif89a.txt
    """
    raw = tf.io.decode_raw(encoded, tf.uint8)
    end = tf.size(raw)
    data = tf.cast(tf.pad(raw, [[0, 16]]), tf.int32)  # a file that is cut reads zeros

    def colours(flags: tf.Tensor) -> tf.Tensor:
        """Bytes of the colour table that the flags announce."""
        return tf.where(flags >= 0x80, tf.bitwise.left_shift(3, (flags & 7) + 1), 0)

    def step(at: tf.Tensor, in_blocks: tf.Tensor, largest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """One block header, or one sub-block of the chain behind it; anything else ends the loop."""
        kind = data[at]
        image, extension = ~in_blocks & (kind == 0x2C), ~in_blocks & (kind == 0x21)
        sides = tf.cast(data[at + 5 : at + 9 : 2] + 256 * data[at + 6 : at + 10 : 2], tf.int64)
        after_header = tf.where(image, at + 11 + colours(data[at + 9]), tf.where(extension, at + 2, end))
        return (
            tf.where(in_blocks, at + 1 + kind, after_header),
            tf.where(in_blocks, kind > 0, image | extension),
            tf.where(image, tf.maximum(largest, tf.reduce_prod(sides)), largest),
        )

    start = (13 + colours(data[10]), tf.constant(False), tf.zeros([], tf.int64))
    return tf.while_loop(lambda at, *_: at < end, step, start, parallel_iterations=1)[2]
