"""Edges out of a collection into a stream (kind mongo2s): each document once for each value of its ordering field.

| module | what it decides or does |
|---|---|
| `messages` | a document -> a message, or why it cannot be one. Pure |
| `horizon` | up to where nothing can appear late any more. Pure but for the clock |
| `collection` | reads the documents in order, and refuses a collection that has none |
| `puller` | the runner: moves batches and, in the same step, the position |

The rules for users stand in docs/MONGO.md.
"""
