-- What an edge's lane has to do, told without its lease. Reads only.
--
-- KEYS  1 lane  2 stream
-- ARGV  1 count up to so many entries
-- Gives {entries after the position, age of the first of them (ms), 1 if a batch is open, 1 if the lane never ran,
--        pause reason}
local state = redis.call('HMGET', KEYS[1], 'position', 'open_seq', 'paused')
local after = state[1] or '0-0'
local found = redis.call('XRANGE', KEYS[2], '(' .. after, '+', 'COUNT', ARGV[1])
local age = 0
if found[1] then age = math.max(0, now_ms() - tonumber(found[1][1]:match('^%d+'))) end
return {#found, age, state[2] and 1 or 0, state[1] and 0 or 1, state[3] or ''}
