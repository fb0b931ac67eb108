-- Give dead letters back to the group that could not handle them, with their attempts forgotten.
--
-- KEYS  1 dead stream  2 dead counts  3 retry stream  4 retry counts  5 tally (counts of the main stream)
--       6 groups (of the main stream)
-- ARGV  1 group, then ids of dead letters
-- Gives {'OK', number moved} | {'UNDECLARED'} (no one would read them). Passed over: ids that are not there any more or
-- come twice, and letters that are kept packed.
local dead, dead_counts, retry, retry_counts, tally = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group = ARGV[1]
local wrong = wrong_type('stream', dead, retry) or wrong_type('hash', dead_counts, retry_counts, tally)
if wrong then return wrong end
if redis.call('HEXISTS', KEYS[6], group) == 0 then return {'UNDECLARED'} end

local found, seen = {}, {}
for i = 2, #ARGV do
  local entry = not seen[ARGV[i]] and redis.call('XRANGE', dead, ARGV[i], ARGV[i])[1]
  if entry and #entry[2] <= MAX_PARTS + 10 and not as_table(entry[2])['_dead_packed'] then found[#found + 1] = entry end
  seen[ARGV[i]] = true
end
if #found == 0 then return {'OK', 0} end
permit(dead_counts)
local ids = {}
for i, entry in ipairs(found) do
  ids[i] = entry[1]
  local origin, kept = nil, {}
  local fields = entry[2]
  for j = 1, #fields, 2 do
    local name = fields[j]
    if name == '_origin' then
      origin = fields[j + 1]
    elseif name == '_dead_id' then
      origin = origin or ('main/' .. fields[j + 1])
    elseif name ~= '_attempt' and name ~= '_since' and name:sub(1, 6) ~= '_dead_' then
      kept[#kept + 1] = name
      kept[#kept + 1] = fields[j + 1]
    end
  end
  redis.call('XADD', retry, '*', '_attempt', '0', '_origin', origin or '', unpack(kept))
end
in_chunks('XDEL', dead, ids)
redis.call('HINCRBY', dead_counts, 'removed', #ids)
redis.call('HINCRBY', retry_counts, 'from.dead', #ids)
redis.call('HINCRBY', tally, group .. '.dead', -#ids)
return {'OK', #ids}
