"""The floors: the fastest loops one would write by hand, without any guarantee, that do the same work."""
