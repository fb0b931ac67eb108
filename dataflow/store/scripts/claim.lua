-- Take entries over: from a consumer that is known to be dead, from anyone whose lease has run out, or (from = to)
-- look again at one's own. Whatever name they were pending under, it is `to` then.
--
-- KEYS  1 stream  2 groups  3 counts  4 tally (counts of the main stream)
-- ARGV  1 group  2 to  3 from ('' = anyone)  4 lease (ms): least idle time when from is ''  5 count
-- Gives {entries that were handed back, entries whose owner may have died of them}, each entry {id, fields}.
-- Entries that are gone from the stream are acknowledged and counted as lost.
local stream, groups, counts, tally = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, to, from, lease_ms, count = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local BENCH = '-'

local wrong = wrong_type('hash', groups, counts, tally)
if wrong then return wrong end
local rows, owners = {}, {}
if from == '' then
  rows = redis.call('XPENDING', stream, group, 'IDLE', lease_ms, '-', '+', count)
else
  for _, name in ipairs(names_of(stream, group, {from})) do
    owners[name] = true
    for _, row in ipairs(redis.call('XPENDING', stream, group, '-', '+', count, name)) do rows[#rows + 1] = row end
  end
  table.sort(rows, function(a, b) return before(a[1], b[1]) end)
end

local clean, suspect, gone = {}, {}, {}
permit(counts)  -- Redis 6.2 counts XGROUP among what needs memory
for _, row in ipairs(rows) do
  local id, owner = row[1], row[2]
  local found = redis.call('XRANGE', stream, id, id)
  if not found[1] then
    gone[#gone + 1] = id
  else
    if owner ~= to then redis.call('XCLAIM', stream, group, to, 0, id, 'JUSTID') end
    local pile = owner == BENCH and clean or suspect
    pile[#pile + 1] = found[1]
  end
  owners[owner] = true
end
if #gone > 0 then
  in_chunks('XACK', stream, gone, group)
  redis.call('HINCRBY', tally, group .. '.lost', #gone)
  advance(stream, groups, counts, group)
end
for owner in pairs(owners) do
  if owner ~= to and owner ~= BENCH then remove_if_idle(stream, group, owner) end
end
return {clean, suspect}
