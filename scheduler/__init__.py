"""Tasks: when edges and other jobs run. Documents say what should be; one process per machine name makes it so."""
