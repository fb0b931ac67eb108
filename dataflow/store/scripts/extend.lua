-- Let the lease of an edge's lane last longer, while a long write is under way. Never takes it over.
--
-- KEYS  1 lane
-- ARGV  1 epoch  2 nonce  3 lease (ms)
-- Gives 1 if it was ours, else 0.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'nonce')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return 0 end
permit(KEYS[1])
redis.call('HSET', KEYS[1], 'until_ms', now_ms() + tonumber(ARGV[3]))
return 1
