-- A token bucket: take one token, or say how long until there is one.
--
-- KEYS  1 the bucket, a hash: tokens (left at that time), at_ms (by the server's clock); gone once it would be full
-- ARGV  1 tokens that come back per second  2 most tokens it holds
-- Gives the wait in ms; 0: a token was taken
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local before = redis.call('HMGET', KEYS[1], 'tokens', 'at_ms')
local tokens = burst
if before[1] then
  local passed_s = math.max(0, now_ms - tonumber(before[2])) / 1000
  tokens = math.min(burst, tonumber(before[1]) + passed_s * rate)
end
if tokens < 1 then return math.ceil((1 - tokens) / rate * 1000) end

redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens - 1), 'at_ms', string.format('%d', now_ms))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return 0
