-- Note how many messages are in streams now, unless that was noted a short while ago.
--
-- KEYS  1 trend  2 any hash of the flow  then per stream: stream, counts
-- ARGV  1 shortest time between two notes (ms)  2 notes to keep  then the name of each stream
-- Gives 1 if it was noted, else 0.
local trend, now = KEYS[1], now_ms()
local newest = redis.call('LINDEX', trend, 0)
if newest then
  local age_ms = now - cjson.decode(newest)['at_ms']
  if age_ms >= 0 and age_ms < tonumber(ARGV[1]) then return 0 end
end
local depths = {}
for i = 3, #ARGV do
  local at = 3 + 2 * (i - 3)
  local kept = tonumber(redis.call('HGET', KEYS[at + 1], 'kept') or '0')
  depths[ARGV[i]] = math.max(0, redis.call('XLEN', KEYS[at]) - kept)
end
permit(KEYS[2])
redis.call('LPUSH', trend, cjson.encode({at_ms = now, depths = depths}))
redis.call('LTRIM', trend, 0, ARGV[2] - 1)
return 1
