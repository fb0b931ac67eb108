"""Who may do what over HTTP, and who did what. The same for every service of a flow; docs/SECURITY.md describes it.

scopes     what a key may do
key        one key: its parts, its digest, when it holds
ring       the keys of a flow in Redis; a copy of them that follows within seconds
bucket     the rate limit of a key
gate       decides over one request: who asks, and may they
flask      the gate before every view of a Flask application; ids of requests; the history
listen     whether a service may listen where it is told to
own        the key that our own commands and clients send
history    who changed what, when: a bounded stream
"""
