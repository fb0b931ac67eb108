-- Ask an edge to begin nothing new for a while, and tell what a reader has on its way.
--
-- KEYS  1 stream  2 retry stream  3 lane  4 what is settled and not confirmed of it  5, 6 the same of the retry lane
-- ARGV  1 group  2 for so long (ms) nothing new is to be begun; 0: it may begin again
-- Gives the number of messages on their way.
local for_ms, lanes = tonumber(ARGV[2]), {KEYS[3], KEYS[4], KEYS[5], KEYS[6]}
local wrong = wrong_type('hash', lanes[1], lanes[3]) or wrong_type('list', lanes[2], lanes[4])
if wrong then return wrong end
local messages = on_its_way(ARGV[1], KEYS[1], KEYS[2], lanes)
for i = 1, 3, 2 do
  if for_ms == 0 then
    redis.call('HDEL', lanes[i], 'leaving_ms')
  elseif redis.call('HEXISTS', lanes[i], 'lineage') == 1 then
    permit(lanes[i])
    redis.call('HSET', lanes[i], 'leaving_ms', now_ms() + for_ms)
  end
end
return messages
