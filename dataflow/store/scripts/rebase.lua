-- Correct counters of a flow by what an audit has found, and write down who did it. For a person to decide.
--
-- KEYS  1 list of corrections, newest first  then one hash per correction
-- ARGV  1 the record (JSON text)  2 how many records are kept  then per correction: field, by how much
-- Gives the number of records.
for i = 2, #KEYS do
  local wrong = wrong_type('hash', KEYS[i])
  if wrong then return wrong end
end
local wrong = wrong_type('list', KEYS[1])
if wrong then return wrong end
redis.call('LTRIM', KEYS[1], 0, ARGV[2] - 2)
for i = 2, #KEYS do
  redis.call('HINCRBY', KEYS[i], ARGV[2 * i - 1], ARGV[2 * i])
end
return redis.call('LPUSH', KEYS[1], ARGV[1])
