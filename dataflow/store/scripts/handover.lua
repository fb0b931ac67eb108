-- Let readers go on under other names or lead elsewhere, and note where all of them lead: all of it or nothing.
--
-- KEYS  1 who applies  2 leads, then per step 26: stream, groups, counts, joins, and twice, of the former name and of
--       the new one: retry stream, its groups, its counts, dead stream, dead counts, parked, attempts,
--       lane, what is settled and not confirmed of it, retry lane, what is settled and not confirmed of that
-- ARGV  1 nonce of who applies  2 '1' to do it, '0' to look only  3 number of steps,
--       then per step: former name, new name (may be the same), '1' if nothing may be on its way,
--       '1' if lanes begin anew, the place that will remember their batches,
--       then per reader: name, lead
-- Gives {'OK'} | {'BUSY', step, messages on their way} | {'TAKEN', step, key} (the new name has messages of its own)
--       | {'FENCED'} (someone else applies)
-- A reader that has another name goes on with its group and what is pending, with all that is its own, and with its
-- books. Whoever works under the former name is shut out by that: its group and its lanes are gone.
local BENCH, LONG_IDLE_MS, OWN, PER_STEP = '-', 86400000, 11, 26

-- Whether something waits in a key. A lane that has nothing on its way can be replaced.
local function holds(key)
  local kind = redis.call('TYPE', key)['ok']
  if kind == 'stream' then return redis.call('XLEN', key) > 0 end
  if kind == 'hash' then return redis.call('HEXISTS', key, 'open_seq') == 1 end
  return kind ~= 'none'
end

local function read_steps()
  local steps, at = {}, 4
  for number = 1, tonumber(ARGV[3]) do
    local step = {former = ARGV[at], name = ARGV[at + 1], quiet = ARGV[at + 2] == '1', anew = ARGV[at + 3] == '1',
      place = ARGV[at + 4], own = {}, next = {}}
    local first = 3 + PER_STEP * (number - 1)
    step.stream, step.groups, step.counts, step.joins = KEYS[first], KEYS[first + 1], KEYS[first + 2], KEYS[first + 3]
    for i = 1, OWN do
      step.own[i] = KEYS[first + 3 + i]
      step.next[i] = KEYS[first + 3 + OWN + i]
    end
    steps[number] = step
    at = at + 5
  end
  return steps, at
end

local function lanes_of(keys) return {keys[8], keys[9], keys[10], keys[11]} end

-- What stands against a step: an answer, or nil. Notes which keys it moves.
local function trouble(number, step)
  local own = step.own
  local wrong = wrong_type('hash', step.groups, step.counts, step.joins, own[2], own[3], own[8], own[10])
    or wrong_type('stream', step.stream, own[1]) or wrong_type('zset', own[6]) or wrong_type('list', own[9], own[11])
  if wrong then return wrong end
  if step.quiet then
    local messages = on_its_way(step.former, step.stream, own[1], lanes_of(own))
    if messages > 0 then return {'BUSY', number, messages} end
  end
  step.moving = {}
  if step.former == step.name then return nil end
  if redis.call('HEXISTS', step.groups, step.name) == 1 then return {'TAKEN', number, step.groups} end
  for i = 1, OWN do
    local books_of_none = (i == 4 or i == 5) and not holds(own[4])  -- no dead letters: their books stay
    if redis.call('EXISTS', own[i]) == 1 and not books_of_none then
      if holds(step.next[i]) then return {'TAKEN', number, step.next[i]} end
      step.moving[#step.moving + 1] = i
    end
  end
end

-- Counters of the former name become those of the new one.
local function move_counts(counts, former, name)
  local all = redis.call('HGETALL', counts)
  for i = 1, #all, 2 do
    local what = all[i]:sub(#former + 2)
    if all[i]:sub(1, #former + 1) == former .. '.' and not what:find('.', 1, true) then
      redis.call('HDEL', counts, all[i])
      redis.call('HINCRBY', counts, name .. '.' .. what, all[i + 1])
    end
  end
end

-- A group cannot be renamed: another is made that stands where it stood, and is given what was pending. Returns how
-- many of these are gone from the stream.
local function rename_group(at, declared, former, name)
  local info, lost = groups_of(at)[former], 0
  if info then
    create_group(at, name, info['last-delivered-id'], info['entries-read'])
    local after, rows = '-', nil
    repeat
      rows = redis.call('XPENDING', at, former, after, '+', CHUNK)
      for _, row in ipairs(rows) do
        local moved = redis.call('XCLAIM', at, name, BENCH, 0, row[1], 'IDLE', LONG_IDLE_MS, 'FORCE', 'JUSTID')
        if #moved == 0 then lost = lost + 1 end
        after = '(' .. row[1]
      end
    until #rows < CHUNK
    redis.call('XGROUP', 'DESTROY', at, former)
  else
    create_group(at, name, resume_after(at, redis.call('HGET', declared, former)))
  end
  redis.call('HSET', declared, name, redis.call('HGET', declared, former))
  redis.call('HDEL', declared, former)
  return lost
end

local function rename(step)
  local former, name, counts, own = step.former, step.name, step.counts, step.own
  local retry, retry_groups, retry_counts, lost = own[1], own[2], own[3], 0
  permit(counts)
  if redis.call('HEXISTS', retry_groups, former) == 1 then
    lost = rename_group(retry, retry_groups, former, name)
    move_counts(retry_counts, former, name)
  end
  if redis.call('HEXISTS', step.groups, former) == 1 then
    lost = lost + rename_group(step.stream, step.groups, former, name)
    move_counts(counts, former, name)
    if lost > 0 then redis.call('HINCRBY', counts, name .. '.lost', lost) end
    local kept = tonumber(redis.call('HGET', retry_counts, name .. '.kept') or '0')
    join(step.stream, counts, name, redis.call('XLEN', retry) - kept + redis.call('ZCARD', own[6]))
    local joined = redis.call('HGET', step.joins, former)
    if joined then redis.call('HSET', step.joins, name, joined) end
    redis.call('HDEL', step.joins, former)
  end
  for _, i in ipairs(step.moving) do redis.call('RENAME', own[i], step.next[i]) end
end

-- Lanes begin anew where their groups stand; what is paused stays so.
local function begin_anew(step)
  local lanes = lanes_of(step.next)
  for i = 1, 3, 2 do
    local paused = redis.call('HGET', lanes[i], 'paused')
    redis.call('DEL', lanes[i], lanes[i + 1])
    if step.place ~= '' then redis.call('HSET', lanes[i], 'at', step.place) end
    if paused then redis.call('HSET', lanes[i], 'paused', paused) end
  end
end

local wrong = wrong_type('hash', KEYS[1], KEYS[2])
if wrong then return wrong end
if redis.call('HGET', KEYS[1], 'nonce') ~= ARGV[1] then return {'FENCED'} end
local steps, at = read_steps()
for number, step in ipairs(steps) do
  local answer = trouble(number, step)
  if answer then return answer end
end
if ARGV[2] ~= '1' then return {'OK'} end
permit(KEYS[1])
for _, step in ipairs(steps) do
  if step.former ~= step.name then rename(step) end
  if step.anew then begin_anew(step) end
  for _, lane in ipairs({step.next[8], step.next[10]}) do redis.call('HDEL', lane, 'nonce', 'until_ms', 'leaving_ms') end
end
redis.call('DEL', KEYS[2])
for i = at, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
return {'OK'}
