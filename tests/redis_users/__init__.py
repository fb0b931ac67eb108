"""The suite's own Redis users: each piece of the program logs in as its role, what tests do themselves may do anything.

Every redis-server from version 7 on that a test starts gets the users of deploy/redis/users.acl, made by
deploy/redis/new-users, and `default` for the tests. In every process that a test starts, and in the test's own, a
connection logs in as the user of whoever asks: in a process that runs a command, of that command; in the test's own, of
the room or command that is on the stack (`roles`). So tests stay as they are, and what a role lacks fails the test that
needs it: `login` writes refusals down, whatever the code makes of them.
"""
