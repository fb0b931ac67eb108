-- Forget a reader that the flow no longer has, if nothing waits for it.
--
-- KEYS  1 stream  2 groups  3 counts  4 retry stream  5 parked  6 retry groups
-- ARGV  1 group  2 '1' to drop what waits (the caller has asked for it)
-- Gives {'OK', messages dropped} | {'WAITING', messages}
local stream, groups, counts, group = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local info = groups_of(stream)[group]
local waiting = redis.call('XLEN', KEYS[4]) + redis.call('ZCARD', KEYS[5])
if info then
  waiting = waiting + info['pending']
  local after = info['last-delivered-id']
  repeat
    local part = redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', CHUNK)
    waiting = waiting + #part
    if #part > 0 then after = part[#part][1] end
  until #part < CHUNK
end
if waiting > 0 and ARGV[2] ~= '1' then return {'WAITING', waiting} end
redis.call('HDEL', groups, group)
if info then redis.call('XGROUP', 'DESTROY', stream, group) end
redis.call('DEL', KEYS[4], KEYS[5], KEYS[6])
if waiting > 0 then redis.call('HINCRBY', counts, group .. '.released', waiting) end
advance(stream, groups, counts)
return {'OK', waiting}
