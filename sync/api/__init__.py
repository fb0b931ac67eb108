"""The sync room's HTTP API: runs declared edges when asked to, and tells what became of it. Moves nothing itself."""
