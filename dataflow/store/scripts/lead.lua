-- Take or keep the lease of a scheduler, by this server's clock; or let go of it.
--
-- KEYS  1 scheduler
-- ARGV  1 nonce of the process  2 lease (ms), 0 to let go  3 nonce of a holder known to be dead, '' for none
-- Gives {'OK'} | {'HELD', ms left, nonce of the holder}
local scheduler, nonce, lease = KEYS[1], ARGV[1], tonumber(ARGV[2])
local bad = wrong_type('hash', scheduler)
if bad then return bad end
local now = now_ms()
local state = redis.call('HMGET', scheduler, 'nonce', 'until_ms')
local left = tonumber(state[2] or '0') - now
if state[1] and state[1] ~= nonce and state[1] ~= ARGV[3] and left > 0 then return {'HELD', left, state[1]} end
if lease == 0 and state[1] ~= nonce then return {'OK'} end
permit(scheduler)
if lease == 0 then
  redis.call('HDEL', scheduler, 'nonce', 'until_ms')
else
  redis.call('HSET', scheduler, 'nonce', nonce, 'until_ms', now + lease)
end
return {'OK'}
