"""Kinds of jobs: what a task does when it is due."""
