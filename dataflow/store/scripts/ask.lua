-- Remember that a run of an edge was asked for. What is too old, or too much, is forgotten: the first that were asked for.
--
-- KEYS  1 records  2 ages
-- ARGV  1 id of the run  2 edge  3 how long runs are remembered (ms)  4 how many are
-- Gives 'OK'
local records, ages, run = KEYS[1], KEYS[2], ARGV[1]
local bad = wrong_type('hash', records) or wrong_type('zset', ages)
if bad then return bad end
local now = now_ms()
local old = redis.call('ZRANGEBYSCORE', ages, '-inf', now - tonumber(ARGV[3]), 'LIMIT', 0, CHUNK)
local surplus = redis.call('ZCARD', ages) - #old - tonumber(ARGV[4])
if surplus >= 0 then
  old = redis.call('ZRANGE', ages, 0, math.min(#old + surplus, CHUNK - 1))
end

local newest = tonumber(redis.call('ZREVRANGE', ages, 0, 0, 'WITHSCORES')[2] or '0')
redis.call('HSET', records, run, cjson.encode({edge = ARGV[2], asked_ms = now}))
redis.call('ZADD', ages, math.max(now, newest + 0.001), run)  -- in order within a millisecond, too
for _, id in ipairs(old) do
  redis.call('HDEL', records, id, id .. ':begun', id .. ':ended')
  redis.call('ZREM', ages, id)
end
return 'OK'
