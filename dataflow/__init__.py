"""A dataflow framework on Redis Streams: declare the net in one file, write a function per step.

What a handler imports: `Reject`, `Retry`, `To` and, for annotations, `Context`.
"""

from dataflow.handler import Context, Reject, Retry, To

__version__ = "0.1.0"
__all__ = ["Context", "Reject", "Retry", "To", "__version__"]
