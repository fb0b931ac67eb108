-- Let go of an edge's lease, so that the next runner need not wait for it to run out.
--
-- KEYS  1 lane
-- ARGV  1 epoch  2 nonce
-- Gives 1 if it was ours, else 0.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'nonce')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'until_ms')
return 1
