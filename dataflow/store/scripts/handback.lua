-- Put a consumer's entries on the bench, where the next reader finds them at once, and remove the consumer.
-- Attempts that were begun and will not be finished are taken back.
--
-- KEYS  1 stream  2 attempts
-- ARGV  1 group  2 consumer  3 lane, then ids whose begun attempt does not count
-- Gives the number of entries handed back.
local stream, attempts, group, consumer, lane = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local BENCH, LONG_IDLE_MS = '-', 86400000

local handed = 0
repeat
  local rows = redis.call('XPENDING', stream, group, '-', '+', CHUNK, consumer)
  for _, row in ipairs(rows) do
    redis.call('XCLAIM', stream, group, BENCH, 0, row[1], 'IDLE', LONG_IDLE_MS, 'JUSTID')
    -- Redis 7 drops entries that are gone from the stream; 6.2 moves them. Either way they leave this consumer.
  end
  handed = handed + #rows
until #rows < CHUNK
for i = 4, #ARGV do
  local mark = lane .. '/' .. ARGV[i]
  if (tonumber(redis.call('HGET', attempts, mark)) or 0) > 0 then
    if redis.call('HINCRBY', attempts, mark, -1) <= 0 then redis.call('HDEL', attempts, mark) end
  end
end
if #redis.call('XPENDING', stream, group, '-', '+', 1, consumer) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
end
return handed
