-- Note which flow is applied and where its readers lead, also at maxmemory: what fills the memory can only drain once it
-- is.
--
-- KEYS  1 applied flow  2 leads
-- ARGV  1 format  2 digest of the flow  3 now (ms), then per reader: name, lead
-- Gives the new revision.
permit(KEYS[1])
redis.call('DEL', KEYS[2])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'digest', ARGV[2], 'applied_ms', ARGV[3])
return redis.call('HINCRBY', KEYS[1], 'revision', 1)
