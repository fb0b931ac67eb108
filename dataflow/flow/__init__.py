"""The flow file: reading it, checking it, drawing it. `load.load` is the way in; `spec` is what comes out.

One concept per file, in the order in which a file passes through them:

    tree        text -> nodes that know their line and column
                compose: YAML; core_schema: what plain scalars mean; expand: ${NAME:default}
    kind        what a kind of value is: it reads a node and can describe itself
                values, names, address: scalars; many, sections: lists and mappings; fields, schedule: the rest
    shape       which keys a flow file has: one list gives validation, defaults, JSON Schema and docs/FLOW.md
    build       read values -> the frozen classes of spec
    judge       asks all rules: names_used, rules (the five), net; ends: what they look at. Pure functions of a Flow
    handlers    whether a worker's module can be found, without importing it
    findings    what those steps found; codes: the table of their texts
    load        all of it in one call

`schema` and `reference` make the JSON Schema and the generated parts of docs/FLOW.md, `graph` draws a flow.
"""
