-- Shared by every script. A script first only reads and checks, then writes: outputs, acknowledgements, deletions.
-- Lua has no rollback, so nothing after the first write may fail.

-- Argument lists are cut at this size: unpack raises on long ones.
local CHUNK = 1000

-- Most arguments of one XADD: what unpack can carry, with some to spare for the fields that a script adds.
local MAX_PARTS = 7000

-- Make the writes that follow possible at maxmemory: Redis only refuses the first write of a script, and HDEL may run.
local function permit(counts)
  redis.call('HDEL', counts, '')
end

-- Whether stream id a comes before b. Ids hold two 64-bit numbers, too large for Lua's, so digits are compared.
local function number_before(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end

local function before(a, b)
  if #a == #b and a:find('-', 1, true) == b:find('-', 1, true) then return a < b end  -- the common case
  local a_ms, a_seq = a:match('^(%d+)-(%d+)$')
  local b_ms, b_seq = b:match('^(%d+)-(%d+)$')
  if a_ms ~= b_ms then return number_before(a_ms, b_ms) end
  return number_before(a_seq, b_seq)
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Run a command on many arguments, CHUNK at a time; returns the sum of its answers.
local function in_chunks(command, key, args, ...)
  local sum = 0
  local head = {key, ...}
  for first = 1, #args, CHUNK do
    local part = {}
    for i = 1, #head do part[i] = head[i] end
    for i = first, math.min(first + CHUNK - 1, #args) do part[#part + 1] = args[i] end
    local answer = redis.call(command, unpack(part))
    if type(answer) == 'number' then sum = sum + answer end
  end
  return sum
end

local function is_stream(key)
  local kind = redis.call('TYPE', key)['ok']
  return kind == 'stream' or kind == 'none'
end

-- An error reply if one of the keys holds something else than `kind`, else nil. Asked before the first write.
local function wrong_type(kind, ...)
  for _, key in ipairs({...}) do
    local found = redis.call('TYPE', key)['ok']
    if found ~= kind and found ~= 'none' then
      return redis.error_reply('WRONGTYPE ' .. key .. ' holds a ' .. found .. ' where a ' .. kind .. ' is expected')
    end
  end
end

-- Whether another flow of this name is being applied, or was since `nonce` took its turn; '' for one who applies none.
local function fenced(applying, nonce)
  return (nonce or '') ~= '' and redis.call('HGET', applying, 'nonce') ~= nonce
end

-- An error reply if XADD could not take a message of so many arguments, else nil. Asked before the first write.
local function unfit(n)
  if n and n >= 2 and n <= MAX_PARTS and n % 2 == 0 then return nil end
  return redis.error_reply('ERR a message has ' .. tostring(n) .. ' arguments; it must be 2 to ' .. MAX_PARTS)
end

-- The messages that `packed` of packing.py has made one argument of. It is a list: first the shapes, their number, then
-- per shape: number of names, name ... Then runs of messages that are alike: target number, shape number, number of
-- messages, the values of each.
-- Gives the runs, {target, shape, n, first, list} where `first` is the place of the first value, and the number of
-- messages per target; or nil and an error reply.
-- path: '' (or nil) if messages are complete; else what all of them get as their second field, `_path`.
local function read_messages(argument, path)
  local list = cmsgpack.unpack(argument)
  local shapes, at, last = {}, 2, #list
  local gap = (path or '') ~= '' and 2 or 0
  for number = 1, list[1] do
    local n = list[at]
    local wrong = unfit(n > 0 and 2 * n + gap or 0)
    if wrong then return nil, wrong end
    local parts = {list[at + 1]}
    if gap > 0 then parts[3], parts[4] = '_path', path end
    for i = 2, n do parts[2 * i - 1 + gap] = list[at + i] end
    shapes[number] = {n = n, parts = parts, gap = gap}
    at = at + 1 + n
  end
  local runs, wanted = {}, {}
  while at <= last do
    local target, shape, n = list[at], shapes[list[at + 1]], list[at + 2]
    runs[#runs + 1] = {target = target, shape = shape, n = n, first = at + 3, list = list}
    wanted[target] = (wanted[target] or 0) + n
    at = at + 3 + n * shape.n
  end
  if at ~= last + 1 then return nil, redis.error_reply('ERR the last message is not whole') end
  return runs, wanted
end

-- The loop of add_messages, unrolled for messages of one number of names: script.py writes it where that is known.
-- Gives whether it was for this run.
local function add_unrolled(stream, run, hop)
  return false
end

-- Append the messages of a run. With a hop, their second field is the path, which goes on with that.
local function add_messages(stream, run, hop)
  if add_unrolled(stream, run, hop) then return end
  local call, list, parts, width, gap = redis.call, run.list, run.shape.parts, run.shape.n, run.shape.gap
  local first = run.first
  for _ = 1, run.n do
    parts[2] = list[first]
    for i = 2, width do parts[2 * i + gap] = list[first + i - 1] end
    first = first + width
    if hop then parts[4] = parts[4] == '' and hop or parts[4] .. '>' .. hop end
    call('XADD', stream, '*', unpack(parts))
  end
end

-- The fields of a message as a dead letter keeps them. Another program's entry may be too long for unpack: such a one
-- is kept packed, to be looked at but not replayed.
local function as_kept(fields)
  if #fields <= MAX_PARTS then return fields end
  return {'_dead_packed', cmsgpack.pack(fields)}
end

-- A flat reply (name, value, ...) as a table.
local function as_table(flat)
  local result = {}
  for i = 1, #flat, 2 do result[flat[i]] = flat[i + 1] end
  return result
end

-- The process that goes by a name in a consumer group, its own or that of one of its questions; see apart.py.
local function consumer_of(name)
  return name:match('^(.*)#%d+$') or name
end

-- Remove a consumer that holds nothing. (Redis would drop what one holds.)
local function remove_if_idle(stream, group, name)
  if #redis.call('XPENDING', stream, group, '-', '+', 1, name) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
  end
end

-- The names that some processes have in a consumer group: their own, and those of their questions.
local function names_of(stream, group, consumers)
  local wanted, names = {}, {}
  for _, consumer in ipairs(consumers) do wanted[consumer] = true end
  for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    local name = as_table(flat)['name']
    if wanted[consumer_of(name)] then names[#names + 1] = name end
  end
  return names
end

-- The fields of an entry; none if it is gone.
local function fields_of(stream, id)
  local found = redis.call('XRANGE', stream, id, id)
  return found[1] and found[1][2] or {}
end

-- The consumer groups that exist on a stream: name -> XINFO fields.
local function groups_of(stream)
  local result = {}
  if redis.call('EXISTS', stream) == 0 then return result end
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local info = as_table(flat)
    result[info['name']] = info
  end
  return result
end

-- Where a group stands: the first id that it has not finished (nil: it has finished all), and its frontier as kept in
-- the hash of groups: '<id>' when all up to and with it is finished, '(<id>' when all before it is.
local function standing(stream, group, last_delivered)
  local pending = redis.call('XPENDING', stream, group)
  if pending[1] > 0 then return pending[2], '(' .. pending[2] end
  local rest = redis.call('XRANGE', stream, '(' .. last_delivered, '+', 'COUNT', 1)
  return rest[1] and rest[1][1], last_delivered
end

-- Make a group that goes on after an id. Redis 7 wants to be told how many entries it counts as read (nil: not known),
-- or its lag stays unknown.
local function create_group(stream, group, after, read)
  if read and redis.call('EXISTS', stream) == 1
    and as_table(redis.call('XINFO', 'STREAM', stream))['entries-added'] then
    redis.call('XGROUP', 'CREATE', stream, group, after, 'ENTRIESREAD', read)
  else
    redis.call('XGROUP', 'CREATE', stream, group, after, 'MKSTREAM')
  end
end

-- The id after which a lost group goes on: everything up to it is finished.
local function resume_after(stream, frontier)
  if frontier:sub(1, 1) ~= '(' then return frontier end
  local last = redis.call('XREVRANGE', stream, frontier, '-', 'COUNT', 1)
  return last[1] and last[1][1] or '0-0'
end

-- What the books say a group has finished, from an earlier time under the same name.
local function finished(counts, group)
  local sum = 0
  for _, way in ipairs({'handled', 'filtered', 'dead', 'released', 'lost'}) do
    sum = sum + tonumber(redis.call('HGET', counts, group .. '.' .. way) or '0')
  end
  return sum
end

-- How many entries of a stream come after an id. Counted from both ends in turn, so that the shorter side decides; nil
-- if that is longer than `most`, where given.
local function count_after(stream, after, most)
  local above, below = 0, 0
  local top, bottom = '+', '-'
  while not most or above < most do
    local part = redis.call('XREVRANGE', stream, top, '(' .. after, 'COUNT', CHUNK)
    above = above + #part
    if #part < CHUNK then return above end
    top = '(' .. part[CHUNK][1]
    part = redis.call('XRANGE', stream, bottom, after, 'COUNT', CHUNK)
    below = below + #part
    if #part < CHUNK then return redis.call('XLEN', stream) - below end
    bottom = '(' .. part[CHUNK][1]
  end
end

-- Note how far `group` is, then delete what every declared group has finished: up to the frontier at once, and of
-- `ids`, which `group` has just finished (in the order of the stream), those above it that no other group still needs.
-- Nothing is deleted while no group is declared or one is missing.
local function advance(stream, groups, counts, group, ids)
  local declared = redis.call('HKEYS', groups)
  if #declared == 0 then return 0 end
  local existing, low, complete = groups_of(stream), nil, true
  for _, name in ipairs(declared) do
    if existing[name] then
      local first, frontier = standing(stream, name, existing[name]['last-delivered-id'])
      if name == group then redis.call('HSET', groups, group, frontier) end
      if first and (not low or before(first, low)) then low = first end
    else
      complete = false
    end
  end
  if not complete then return 0 end
  local removed
  if low then
    removed = redis.call('XTRIM', stream, 'MINID', '=', low)
    local above = {}
    for i = ids and #ids or 0, 1, -1 do
      local id, free = ids[i], true
      if before(id, low) then break end
      for _, name in ipairs(declared) do
        if not free then break end
        free = name == group or (not before(existing[name]['last-delivered-id'], id)
          and #redis.call('XPENDING', stream, name, id, id, 1) == 0)
      end
      if free then above[#above + 1] = id end
    end
    removed = removed + in_chunks('XDEL', stream, above)
  else
    removed = redis.call('XTRIM', stream, 'MAXLEN', '=', 0)
  end
  if removed > 0 then redis.call('HINCRBY', counts, 'removed', removed) end
  return removed
end

-- How many entries a stream has ever got: Redis counts them itself from 7.0 on. Before that it is what was counted when
-- it was written, or, with other writers, what is there and what we removed.
local function added(stream, counts)
  if redis.call('EXISTS', stream) == 1 then
    local info = as_table(redis.call('XINFO', 'STREAM', stream))
    if info['entries-added'] then return info['entries-added'] end
  end
  local written, removed = 0, 0
  local all = redis.call('HGETALL', counts)
  for i = 1, #all, 2 do
    if all[i]:sub(1, 5) == 'from.' then written = written + tonumber(all[i + 1]) end
    if all[i] == 'removed' then removed = tonumber(all[i + 1]) end
  end
  return math.max(written, redis.call('XLEN', stream) + removed)
end

-- Begin the books of a group balanced: what was added and is not for it to do, now or by what it has finished. It may
-- have `beside` messages to do that are not in the stream any more.
local function join(stream, counts, group, beside)
  local info = groups_of(stream)[group]
  local kept = tonumber(redis.call('HGET', counts, group .. '.kept') or '0')
  local to_do = info['pending'] + count_after(stream, info['last-delivered-id']) - kept + (beside or 0)
  redis.call('HSET', counts, group .. '.joined', added(stream, counts) - to_do - finished(counts, group))
end

-- What a reader has on its way: messages of an edge's open batches, and those that a target on another server may still
-- lose; those that a worker was given and has not finished. Lanes: state, what is settled and not confirmed, twice.
local function on_its_way(group, stream, retry, lanes)
  local messages = 0
  for i = 1, 3, 2 do
    messages = messages + tonumber(redis.call('HGET', lanes[i], 'open_count') or '0')
    for _, packed in ipairs(redis.call('LRANGE', lanes[i + 1], 0, -1)) do
      messages = messages + cmsgpack.unpack(packed)[4]
    end
  end
  for _, at in ipairs({stream, retry}) do
    local info = groups_of(at)[group]
    if info then messages = messages + info['pending'] end
  end
  return messages
end

-- Move a group's position on, past `count` entries; Redis 7 wants to be told how many it has read.
local function pass(stream, group, info, last, count)
  if info['entries-read'] then
    redis.call('XGROUP', 'SETID', stream, group, last, 'ENTRIESREAD', info['entries-read'] + count)
  else
    redis.call('XGROUP', 'SETID', stream, group, last)
  end
end

-- Note that so many more entries (fewer, if negative) are kept which an edge has settled; see confirm.lua.
local function keep(counts, group, n)
  if n == 0 then return end
  redis.call('HINCRBY', counts, group .. '.kept', n)
  redis.call('HINCRBY', counts, 'kept', n)
end

-- Entries that are only kept until a target on another server cannot lose them any more; they take no room.
local function kept_in(counts)
  return tonumber(redis.call('HGET', counts, 'kept') or '0')
end

-- The same as lacks_room for a stream on a cycle. Whoever brings messages in from outside finds all that are on the
-- cycle counted; who closes it finds room always. Else all its streams fill up, and each writer waits for the next.
local function lacks_room_on_cycle(stream, counts, n, writer, most)
  local cycle = redis.call('HMGET', stream .. ':cycle', 'streams', 'steps', 'closing')
  local inside = cycle[2] and cycle[2]:find(' ' .. writer .. ' ', 1, true)
  if inside and cycle[3] == '1' then return nil end
  local depth = 0
  for one in (inside and stream or cycle[1] or stream):gmatch('%S+') do
    depth = depth + redis.call('XLEN', one) - kept_in(one .. ':counts')
  end
  if depth + n > most then return {depth, most} end
  return nil
end

-- Room for n more entries of a writer: nil if there is, else {depth, max_len}. An undeclared stream has max_len -1.
local function lacks_room(stream, counts, n, writer)
  local known = redis.call('HMGET', counts, 'max_len', 'cycle')
  if not known[1] then return {0, -1} end
  local most = tonumber(known[1])
  if known[2] == '1' then return lacks_room_on_cycle(stream, counts, n, writer, most) end
  local depth = redis.call('XLEN', stream)
  if depth + n > most and depth + n > most + kept_in(counts) then return {depth, most} end
  return nil
end
