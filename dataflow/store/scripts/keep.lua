-- Trim a stream that has no reader to what its `keep` in the flow file asks for.
--
-- KEYS  1 stream  2 groups  3 counts
-- ARGV  1 messages to keep ('' any number)  2 age to keep in ms ('' any age)
-- Gives the number removed; 0 as soon as a reader is declared: then only what all have finished may go.
local stream, groups, counts = KEYS[1], KEYS[2], KEYS[3]
if redis.call('EXISTS', groups) == 1 or redis.call('EXISTS', stream) == 0 then return 0 end
local removed = 0
if ARGV[1] ~= '' then removed = redis.call('XTRIM', stream, 'MAXLEN', '=', ARGV[1]) end
if ARGV[2] ~= '' then
  local oldest = string.format('%d', now_ms() - tonumber(ARGV[2]))
  removed = removed + redis.call('XTRIM', stream, 'MINID', '=', oldest)
end
if removed > 0 then redis.call('HINCRBY', counts, 'removed', removed) end
return removed
