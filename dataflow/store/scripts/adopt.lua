-- Take the source's word for what was applied at a target that has lost batches. For a person to decide.
--
-- KEYS  1 marker
-- ARGV  1 last seq that the source has settled
-- Gives the number of batches that the target had lost; 0: nothing was changed.
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or '0')
local lost = tonumber(ARGV[1]) - seq
if lost <= 0 then return 0 end
permit(KEYS[1])
redis.call('HSET', KEYS[1], 'seq', ARGV[1], 'digest', '')
return lost
