-- Finish entries of a worker's batch: write what they became, acknowledge them, count, delete what no one needs.
-- Only entries that are still pending for this very consumer count, under any of its names; for the others nothing is
-- written.
--
-- KEYS  1 stream  2 groups  3 counts (of the stream read: main or retry)  4 tally (counts of the main stream)
--       5 attempts  6 dead stream  7 dead counts  8 parked, then per target: stream, counts
-- ARGV  1 group  2 consumer  3 lane (main | retry)  4 '1': all entries or none
--       5 the entries as one packed list, for each: id, kind and
--         a number: nothing; it was handled and became so many messages
--         drop: nothing (the handler filtered it)
--         dead: reason, error, attempts
--         park: due (ms), attempts
--       6 the messages of all entries, packed
--       7 '1': each entry became one message, and the list of 5 holds their ids alone
--       8 the name under which these entries were given, if that were all that was (see apart.py); else ''
-- Gives {'OK', n, id lost to another consumer ...} | {'FULL', key number, depth, max_len} | {'WRONGTYPE', key number}
-- A message that is parked for the first time gets a field `_since`: the time (ms).
-- A message of another program that is too long to come back is not parked but dead (reason too_many_fields).
local stream, groups, counts, tally = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local attempts, dead, dead_counts, parked = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local group, consumer, lane, together = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local one_each, apart = ARGV[7] == '1', ARGV[8]

-- Read the arguments. Of an entry: its id; how many messages it became (nil: one), or `drop`; or its fate, if it is dead
-- or parked.
-- (Lists side by side: a table for each of five hundred entries would be a tenth of the script.)
-- (And a call of `type` or of what `ipairs` gives costs as much as ten lines without one.)
local list = cmsgpack.unpack(ARGV[5])
local ids, kinds, fates, n_entries, n_messages = {}, {}, {}, 0, 0
local at, last, number = 1, #list, nil
if one_each then
  ids, n_entries, n_messages, last = list, last, last, 0
end
while at <= last do
  local kind = list[at + 1]
  n_entries = n_entries + 1
  ids[n_entries], kinds[n_entries] = list[at], kind
  at = at + 2
  if kind == number or type(kind) == 'number' then
    number = kind
    n_messages = n_messages + kind
  elseif kind == 'dead' then
    fates[n_entries] = {reason = list[at], error = list[at + 1], attempts = list[at + 2]}
    at = at + 3
  elseif kind == 'park' then
    fates[n_entries] = {due = list[at], attempts = list[at + 1]}
    at = at + 2
  elseif kind ~= 'drop' then
    return redis.error_reply('ERR an entry cannot become ' .. tostring(kind))
  end
end
local runs, wanted = read_messages(ARGV[6])
if not runs then return wanted end
local n_given = 0
for _, run in ipairs(runs) do n_given = n_given + run.n end
if n_given ~= n_messages then return redis.error_reply('ERR ' .. n_given .. ' messages for ' .. n_messages) end

-- Which are ours? Where these were given under a name of their own, they all are if so many are pending under it.
-- (XPENDING raises if the group is gone; XACK would say 0.)
local whole = false
if apart ~= '' then
  for _, row in ipairs(redis.call('XPENDING', stream, group)[4] or {}) do
    if row[1] == apart then whole = tonumber(row[2]) == n_entries end
  end
end

-- Else each is looked at. Mostly nothing lies between them in the stream, so that one question finds them.
local owners = {}  -- name in the group: whether it is ours
local function is_ours(row)
  local owner = row[2]
  if owners[owner] == nil then owners[owner] = consumer_of(owner) == consumer end
  return owners[owner]
end
local found = {}
if n_entries > 0 and not whole then
  found = redis.call('XPENDING', stream, group, ids[1], ids[n_entries], n_entries)
end
local all = whole or #found == n_entries
for i = 1, #found do all = is_ours(found[i]) and all and found[i][1] == ids[i] end
local lost = {}

-- Mostly all are. Else what is to be written are the messages of those that are, one by one.
if not all then
  local pending = {}
  for _, row in ipairs(found) do pending[row[1]] = is_ours(row) end
  local single = {}
  for _, run in ipairs(runs) do
    for i = 0, run.n - 1 do
      local first = run.first + i * run.shape.n
      single[#single + 1] = {target = run.target, shape = run.shape, n = 1, first = first, list = run.list}
    end
  end
  local given_ids, given_kinds, given_fates, message = ids, kinds, fates, 0
  ids, kinds, fates, runs, wanted = {}, {}, {}, {}, {}
  for i, id in ipairs(given_ids) do
    local kind = given_kinds[i] or 1
    local n = type(kind) == 'number' and kind or 0
    if pending[id] == nil then
      local row = redis.call('XPENDING', stream, group, id, id, 1)[1]
      pending[id] = row and is_ours(row)
    end
    if pending[id] then
      pending[id] = false  -- an id that stands twice counts once
      ids[#ids + 1], kinds[#ids + 1], fates[#ids + 1] = id, kind, given_fates[i]
      for place = message + 1, message + n do
        local run = single[place]
        runs[#runs + 1] = run
        wanted[run.target] = (wanted[run.target] or 0) + 1
      end
    else
      lost[#lost + 1] = id
    end
    message = message + n
  end
  if #ids == 0 or (together and #lost > 0) then return {'OK', 0, unpack(lost)} end
end
if #ids == 0 then return {'OK', 0} end

-- Is there room, and is everything what it should be?
local wrong = wrong_type('hash', groups, counts, tally, attempts) or wrong_type('zset', parked)
if wrong then return wrong end
local n_dead = 0
for i, fate in pairs(fates) do
  if kinds[i] == 'park' and #fields_of(stream, ids[i]) > MAX_PARTS then
    kinds[i], fate.reason = 'dead', 'too_many_fields'
    fate.error = 'a message of more than ' .. MAX_PARTS / 2 .. ' fields cannot come back'
  end
  if kinds[i] == 'dead' then n_dead = n_dead + 1 end
end
for target, n in pairs(wanted) do
  local key = 7 + 2 * target
  if not is_stream(KEYS[key]) then return {'WRONGTYPE', key} end
  local full = lacks_room(KEYS[key], KEYS[key + 1], n, group)
  if full then return {'FULL', key, full[1], full[2]} end
end
if n_dead > 0 then
  if not is_stream(dead) then return {'WRONGTYPE', 6} end
  local full = lacks_room(dead, dead_counts, n_dead, group)
  if full then return {'FULL', 6, full[1], full[2]} end
end

-- The fields of a message that comes back, with the time when it first had to.
local function since_first(fields)
  for i = 1, #fields, 2 do
    if fields[i] == '_since' and fields[i + 1]:match('^%d+$') then return fields end
  end
  fields[#fields + 1] = '_since'
  fields[#fields + 1] = string.format('%d', now_ms())
  return fields
end

-- From here on everything is written.
permit(counts)
local n_out, n_handled, n_dropped = 0, 0, 0
for _, run in ipairs(runs) do add_messages(KEYS[7 + 2 * run.target], run) end
for i = 1, #ids do
  local id, kind, fate = ids[i], kinds[i] or 1, fates[i]
  if kind == 'drop' then
    n_dropped = n_dropped + 1
  elseif kind == 'dead' then
    redis.call('XADD', dead, '*', '_dead_reason', fate.reason, '_dead_error', fate.error, '_dead_attempts',
      fate.attempts, '_dead_lane', lane, '_dead_id', id, unpack(as_kept(fields_of(stream, id))))
  elseif kind == 'park' then
    local message = cmsgpack.pack({lane .. '/' .. id, fate.attempts, since_first(fields_of(stream, id))})
    redis.call('ZADD', parked, fate.due, message)
  else
    n_out = n_out + kind
    n_handled = n_handled + 1
  end
end
if whole then
  redis.call('XGROUP', 'DELCONSUMER', stream, group, apart)
else
  in_chunks('XACK', stream, ids, group)
  for owner, ours in pairs(owners) do
    if ours and owner ~= consumer then remove_if_idle(stream, group, owner) end
  end
end
if redis.call('EXISTS', attempts) == 1 then
  local marks = {}
  for i, id in ipairs(ids) do marks[i] = lane .. '/' .. id end
  in_chunks('HDEL', attempts, marks)
end
for target, n in pairs(wanted) do redis.call('HINCRBY', KEYS[8 + 2 * target], 'from.' .. group, n) end
if n_handled > 0 then redis.call('HINCRBY', tally, group .. '.handled', n_handled) end
if n_dropped > 0 then redis.call('HINCRBY', tally, group .. '.filtered', n_dropped) end
if n_out > 0 then redis.call('HINCRBY', tally, group .. '.out', n_out) end
if n_dead > 0 then
  redis.call('HINCRBY', tally, group .. '.dead', n_dead)
  redis.call('HINCRBY', dead_counts, 'from.' .. group, n_dead)
end
if not all then table.sort(ids, before) end
advance(stream, groups, counts, group, ids)
return {'OK', #ids, unpack(lost)}
