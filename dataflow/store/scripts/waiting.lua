-- What an edge's lane has to do, told without its lease. Reads only.
--
-- KEYS  1 lane  2 stream  3 what is settled and not confirmed
-- ARGV  1 count up to so many entries  2 how long a server needs to store what it was told (ms)
-- Gives {entries after the position, age of the first of them (ms), 1 if a batch is open, 1 if the lane never ran,
--        pause reason, time until something may be confirmed (ms; -1: nothing is to be)}
local state = redis.call('HMGET', KEYS[1], 'position', 'open_seq', 'paused', 'look_ms')
local after = state[1] or '0-0'
local found = redis.call('XRANGE', KEYS[2], '(' .. after, '+', 'COUNT', ARGV[1])
local age = 0
if found[1] then age = math.max(0, now_ms() - tonumber(found[1][1]:match('^%d+'))) end
local first, confirm_ms = redis.call('LINDEX', KEYS[3], 0), -1
if first then
  local since = math.max(tonumber(state[4] or '0'), cmsgpack.unpack(first)[7])
  confirm_ms = math.max(0, math.min(since + ARGV[2] - now_ms(), ARGV[2]))
  if not state[4] then confirm_ms = 0 end
end
return {#found, age, state[2] and 1 or 0, state[1] and 0 or 1, state[3] or '', confirm_ms}
