"""Edges into MongoDB: one document per message, each once.

| module | what it decides or does |
|---|---|
| `documents` | a message -> a BSON document, or why it cannot be one. Pure |
| `refusals` | what the server's answer says about single documents. Pure |
| `sink` | the sink itself: upserts by `_id`, which is the message's `_mid` |

The rules for users stand in docs/MONGO.md.
"""
