"""The sink that sends batches to the Image API, several at a time.

`client` speaks HTTP and tries again, `window` says how many may speak at once, `courier` brings batches there,
`body` streams them from the disk, `account` counts what was acknowledged, and `sink` is what the pipeline holds.
"""

from pipeline.sinks.api.sink import ApiSink, opened

__all__ = ["ApiSink", "opened"]
