-- Note which flow is applied, also at maxmemory: what fills the memory can only drain once it is.
--
-- KEYS  1 applied flow
-- ARGV  1 format  2 digest of the flow  3 now (ms)
-- Gives the new revision.
permit(KEYS[1])
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'digest', ARGV[2], 'applied_ms', ARGV[3])
return redis.call('HINCRBY', KEYS[1], 'revision', 1)
