"""Edges: move messages between two data points without logic, exactly once."""
