-- Remove consumers that hold nothing and have not been heard of for long: those of processes that were killed while idle.
--
-- KEYS  1 stream  2 counts
-- ARGV  1 group  2 least idle time (ms)
-- Gives the number removed.
local stream, counts, group, idle_ms, removed = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), 0
local wrong = wrong_type('hash', counts)
if wrong then return wrong end
permit(counts)
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local consumer = as_table(flat)
  if consumer['pending'] == 0 and consumer['idle'] >= idle_ms then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer['name'])
    removed = removed + 1
  end
end
return removed
