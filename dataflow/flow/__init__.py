"""The flow file: reading it, checking it, drawing it. `load.load` is the way in; `spec` is what comes out.

One concept per file, in the order in which a file passes through them:

    tree       text -> nodes that know their line and column (expand: ${NAME:default})
    kinds      how one value is read, and how an editor is told about it
    shape      which keys a flow file has: one list gives validation, defaults, JSON Schema and the reference page
    build      read values -> the frozen classes of spec
    rules      what a net must satisfy, as pure functions of a Flow
    handlers   whether a worker's module can be found, without importing it
    findings   what those steps found; codes: the table of their texts
    load       all of it in one call
"""
