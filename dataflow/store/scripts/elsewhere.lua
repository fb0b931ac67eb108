-- Let an edge lead elsewhere, if nothing is on its way: its lanes begin anew where its groups stand. Processes that
-- follow the former flow are kept out by `at`, until they follow too. What is paused stays so.
--
-- KEYS  1 stream  2 retry stream  3 lane  4 what is settled and not confirmed of it  5, 6 the same of the retry lane
-- ARGV  1 group  2 the place that will remember its batches, '' for none
-- Gives the number of messages on their way; 0: it was done.
local lanes = {KEYS[3], KEYS[4], KEYS[5], KEYS[6]}
local wrong = wrong_type('hash', lanes[1], lanes[3]) or wrong_type('list', lanes[2], lanes[4])
if wrong then return wrong end
local messages = on_its_way(ARGV[1], KEYS[1], KEYS[2], lanes)
if messages > 0 then return messages end
for i = 1, 3, 2 do
  local paused = redis.call('HGET', lanes[i], 'paused')
  redis.call('DEL', lanes[i], lanes[i + 1])
  if ARGV[2] ~= '' then redis.call('HSET', lanes[i], 'at', ARGV[2]) end
  if paused then redis.call('HSET', lanes[i], 'paused', paused) end
end
return 0
