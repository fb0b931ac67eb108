-- Note which flow is applied, also at maxmemory: what fills the memory can only drain once it is.
--
-- KEYS  1 applied flow  2 leads  3 who applies
-- ARGV  1 format  2 digest of the flow  3 now (ms)  4 nonce of who applies, then readers that are gone for good
-- Gives {'OK', the new revision} | {'FENCED'} (someone else applies)
if fenced(KEYS[3], ARGV[4]) then return {'FENCED'} end
permit(KEYS[1])
for i = 5, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
redis.call('HSET', KEYS[1], 'format', ARGV[1], 'digest', ARGV[2], 'applied_ms', ARGV[3])
return {'OK', redis.call('HINCRBY', KEYS[1], 'revision', 1)}
