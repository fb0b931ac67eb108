-- Shut older runners of an edge out at the target, and learn the last batch applied.
--
-- KEYS  1 marker  2 lane  3 retry lane (of the edge; there if its source is on this server too)
-- ARGV  1 epoch  2 lineage
-- Gives {'OK', last seq, epoch before, digest of the last batch, run id of this server: '' if the source is on it too}
--       | {'FENCED', epoch}
local known = redis.call('HMGET', KEYS[1], 'seq', 'epoch', 'digest')
local epoch = tonumber(known[2] or '0')
if tonumber(ARGV[1]) < epoch then return {'FENCED', epoch} end
local run = ''
if redis.call('HGET', KEYS[2], 'lineage') ~= ARGV[2] and redis.call('HGET', KEYS[3], 'lineage') ~= ARGV[2] then
  run = redis.call('INFO', 'server'):match('run_id:(%x+)')
end
permit(KEYS[1])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
if not known[1] then redis.call('HSET', KEYS[1], 'seq', '0') end
return {'OK', tonumber(known[1] or '0'), epoch, known[3] or '', run}
