"""What `dataflow doctor` looks at. One file per kind of thing; in each, one function looks and pure ones judge."""
