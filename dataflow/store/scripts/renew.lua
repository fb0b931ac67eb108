-- Keep the claims of live consumers: reset the idle time of what is still theirs.
--
-- KEYS  1 stream  2 tally (counts of the main stream)
-- ARGV  1 group, then consumers
-- Gives the number of entries renewed. Entries that are gone from the stream are counted as lost where Redis drops
-- their claim (7.0 on); before that they stay claimed.
local stream, tally, group, renewed, lost = KEYS[1], KEYS[2], ARGV[1], 0, 0
local wrong = wrong_type('hash', tally)
if wrong then return wrong end

local function keep_claims(name)
  local ids = {}
  for _, row in ipairs(redis.call('XPENDING', stream, group, '-', '+', 1000000, name)) do ids[#ids + 1] = row[1] end
  for first = 1, #ids, CHUNK do
    local part = {unpack(ids, first, math.min(first + CHUNK - 1, #ids))}
    local n = #part
    part[n + 1] = 'JUSTID'
    local kept = #redis.call('XCLAIM', stream, group, name, 0, unpack(part))
    renewed = renewed + kept
    lost = lost + n - kept
  end
end

for _, name in ipairs(names_of(stream, group, {unpack(ARGV, 2)})) do keep_claims(name) end
if lost > 0 then redis.call('HINCRBY', tally, group .. '.lost', lost) end
return renewed
