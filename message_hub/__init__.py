"""The door of a flow: an HTTP service that takes messages, checks them and appends them to streams.

A request passes through these files, one concept each:

    body         bytes of the request: media type, compression, size
    parse        bytes -> messages: strict JSON, one level deep
    routing      messages -> entries for the streams that accept them, or every fault
    net          one applied flow made ready: routes, doors; live_net follows the flow when it is applied anew
    post         the two ways in: by (task_for, function_type), or straight to a stream
    trace        where a message is
    health       livez, readyz, version, queue sizes
    refusal      why a request is refused, and with which HTTP status
    app          all of it as a Flask application; host gives it connections and a pulse; command is `dataflow hub`
"""
