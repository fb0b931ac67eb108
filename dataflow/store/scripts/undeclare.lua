-- Forget a reader that the flow no longer has, if nothing waits for it and no target may still lose what it has
-- settled. Its dead letters and its tally stay.
--
-- KEYS  1 stream  2 groups  3 counts  4 retry stream  5 parked  6 retry groups  7 retry counts  8 attempts
--       9 lane  10 retry lane (of the edge of that name; forgotten too if they are lanes on this stream)
--       11, 12 what is settled and not confirmed of either  13 joins  14 who applies
-- ARGV  1 group  2 '1' to drop what waits (the caller has asked for it)  3 name of the stream in the flow
--       4 nonce of who applies, '' for one who does not
-- Gives {'OK', messages dropped} | {'WAITING', messages} | {'FENCED'} (someone else applies)
local stream, groups, counts, group = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if fenced(KEYS[14], ARGV[4]) then return {'FENCED'} end
local info = groups_of(stream)[group]
local wrong = wrong_type('hash', groups, counts, KEYS[9], KEYS[10], KEYS[13])
if wrong then return wrong end
local waiting = redis.call('XLEN', KEYS[4]) + redis.call('ZCARD', KEYS[5])
if info then waiting = waiting + info['pending'] + count_after(stream, info['last-delivered-id']) end
if waiting > 0 and ARGV[2] ~= '1' then return {'WAITING', waiting} end
local kept = tonumber(redis.call('HGET', counts, group .. '.kept') or '0')
waiting = waiting - kept - tonumber(redis.call('HGET', KEYS[7], group .. '.kept') or '0')
redis.call('HDEL', groups, group)
redis.call('HDEL', KEYS[13], group)
if info then redis.call('XGROUP', 'DESTROY', stream, group) end
redis.call('DEL', KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8])
keep(counts, group, -kept)
redis.call('HDEL', counts, group .. '.kept')
for i = 9, 10 do
  local owner = redis.call('HGET', KEYS[i], 'stream')
  if not owner or owner == ARGV[3] then redis.call('DEL', KEYS[i], KEYS[i + 2]) end
end
if waiting > 0 then redis.call('HINCRBY', counts, group .. '.released', waiting) end
advance(stream, groups, counts)
return {'OK', waiting}
