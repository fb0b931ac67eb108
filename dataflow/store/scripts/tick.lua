-- Let a tick of a task fire, once: its time must lie after the task's last tick, and the lease must be ours.
--
-- KEYS  1 scheduler
-- ARGV  1 nonce of the process  2 task  3 tick (ms)  4 latest time that a last tick can have (ms): one that lies beyond
--       was written by a clock that has been set back since, and counts for nothing
-- Gives 'OK' | 'DONE' (it fired before) | 'LOST' (the lease is not ours)
local scheduler, field, tick = KEYS[1], 'tick.' .. ARGV[2], tonumber(ARGV[3])
local bad = wrong_type('hash', scheduler)
if bad then return bad end
local state = redis.call('HMGET', scheduler, 'nonce', 'until_ms', field)
if state[1] ~= ARGV[1] or tonumber(state[2] or '0') <= now_ms() then return 'LOST' end
local last = tonumber(state[3] or '0')
if tick == last or (tick < last and last <= tonumber(ARGV[4])) then return 'DONE' end
permit(scheduler)
redis.call('HSET', scheduler, field, string.format('%.0f', tick))
return 'OK'
