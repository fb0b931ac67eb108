-- Move parked messages whose time has come to their group's retry stream.
--
-- KEYS  1 parked  2 retry stream  3 retry counts
-- ARGV  1 group  2 count
-- Gives the number moved. None of them is longer than XADD can take; `finish` sees to that.
local parked, retry, counts, group = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local due = redis.call('ZRANGEBYSCORE', parked, '-inf', now_ms(), 'LIMIT', 0, ARGV[2])
if #due == 0 then return 0 end
local wrong = wrong_type('stream', retry) or wrong_type('hash', counts)
if wrong then return wrong end

local META = {['_attempt'] = true, ['_origin'] = true, ['_since'] = true}
permit(counts)
for _, packed in ipairs(due) do
  local message = cmsgpack.unpack(packed)
  local origin, attempts, fields = message[1], message[2], message[3]
  local kept = {'_attempt', attempts, '_origin', origin, '_since', string.format('%d', now_ms())}
  for i = 1, #fields, 2 do
    if META[fields[i]] then
      if fields[i] == '_origin' then kept[4] = fields[i + 1] end
      if fields[i] == '_since' then kept[6] = fields[i + 1] end
    else
      kept[#kept + 1] = fields[i]
      kept[#kept + 1] = fields[i + 1]
    end
  end
  redis.call('XADD', retry, '*', unpack(kept))
end
in_chunks('ZREM', parked, due)
redis.call('HINCRBY', counts, 'from.' .. group, #due)
return #due
