-- Keep the claims of live consumers: reset the idle time of what is still theirs.
--
-- KEYS  1 stream
-- ARGV  1 group, then consumers
-- Gives the number of entries renewed.
local stream, group, renewed = KEYS[1], ARGV[1], 0
for i = 2, #ARGV do
  local ids = {}
  for _, row in ipairs(redis.call('XPENDING', stream, group, '-', '+', 1000000, ARGV[i])) do ids[#ids + 1] = row[1] end
  for first = 1, #ids, CHUNK do
    local part = {unpack(ids, first, math.min(first + CHUNK - 1, #ids))}
    part[#part + 1] = 'JUSTID'
    redis.call('XCLAIM', stream, group, ARGV[i], 0, unpack(part))
  end
  renewed = renewed + #ids
end
return renewed
