-- Give dead letters back to the group that could not handle them, with their attempts forgotten.
--
-- KEYS  1 dead stream  2 dead counts  3 retry stream  4 retry counts  5 tally (counts of the main stream)
-- ARGV  1 group, then ids of dead letters
-- Gives the number moved; ids that are not there any more are passed over.
local dead, dead_counts, retry, retry_counts, tally = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local group = ARGV[1]
if not is_stream(retry) then return redis.error_reply('WRONGTYPE ' .. retry .. ' is not a stream') end

local found = {}
for i = 2, #ARGV do
  local entry = redis.call('XRANGE', dead, ARGV[i], ARGV[i])[1]
  if entry then found[#found + 1] = entry end
end
if #found == 0 then return 0 end
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
    elseif name ~= '_attempt' and name:sub(1, 6) ~= '_dead_' then
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
return #ids
