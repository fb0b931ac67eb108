"""Measures this project side by side with minimal code and with what people use today: `python -m benchmarks`."""
