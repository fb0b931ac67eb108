"""The scheduler's HTTP API: reads what the loop knows, writes documents, and answers when the effect is real."""
