-- Leave a hint that the broker does not take, also at maxmemory. A later one for the same edge takes its place.
--
-- KEYS  1 hints
-- ARGV  1 edge  2 id of the hint  3 tick (ms)  4 how long it is worth something (ms)
-- Gives 'OK'
local hints = KEYS[1]
local bad = wrong_type('hash', hints)
if bad then return bad end
permit(hints)
redis.call('HSET', hints, ARGV[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. string.format('%.0f', now_ms() + ARGV[4]))
return 'OK'
