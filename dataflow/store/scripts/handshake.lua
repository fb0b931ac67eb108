-- Shut older runners of an edge out at the target, and learn the last batch applied.
--
-- KEYS  1 marker
-- ARGV  1 epoch
-- Gives {'OK', last seq, epoch before, digest of the last batch} | {'FENCED', epoch}
local known = redis.call('HMGET', KEYS[1], 'seq', 'epoch', 'digest')
local epoch = tonumber(known[2] or '0')
if tonumber(ARGV[1]) < epoch then return {'FENCED', epoch} end
permit(KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
if not known[1] then redis.call('HSET', KEYS[1], 'seq', '0') end
return {'OK', tonumber(known[1] or '0'), epoch, known[3] or ''}
