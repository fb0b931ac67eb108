"""Chaos: a flow under load whose processes are killed at random, and the count of what became of every message.

    python -m dataflow.testing.chaos --seed 7 --duration 600        (or: make chaos SEED=7 DURATION=600)

| file | what |
|---|---|
| `acts.py` | what is done to which process at what time: a pure function of the seed |
| `project.py` | the flow, its folder, and its processes |
| `load.py` | clients that send, retry until they are answered, and write down what was accepted |
| `content.py` | what each message holds at each place |
| `tally.py` | the ids accepted against the rows stored and the dead letters: pure |
| `run.py` | one run from the first process to the verdict |

See docs/RELIABILITY.md.
"""
