"""The rate limit of a key: a token bucket in Redis, so that all processes on all hosts draw from the same one.

It is one more call per request, for keys that have a limit only.
"""

from __future__ import annotations

import math

from dataflow.access.key import Key
from dataflow.store.keys import Keys
from dataflow.store.redis import Client
from dataflow.store.script import script


def draw(redis: Client, keys: Keys, key: Key) -> float:
    """Take a token for one request: 0 if there was one, else the seconds until there is. Blocks for Redis.

    The bucket holds as many tokens as come back in a second, at least one.

    Raises ServerAway, OutcomeUnknown (a token may have been taken), ServerFull.
    """
    burst = max(1, math.ceil(key.rate))
    wait_ms = script("bucket").run(redis, [keys.access_rate(key.id)], [key.rate, burst])
    return int(wait_ms) / 1000
