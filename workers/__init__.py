"""The worker runtime: processes that read a stream through a consumer group and run a handler.

`parent.py` keeps processes alive, `child.py` is one of them, `loop.py` is what it does in five steps.
"""
