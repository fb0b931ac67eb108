-- Let a reader go on under another name: its group with what is pending, and all that is its own. What it has finished
-- stays in the books under the former name, but for dead letters, which come with it.
--
-- KEYS  1 stream  2 groups  3 counts  4 joins, then twice, of the former name and of the new one:
--       retry stream, its groups, its counts, dead stream, dead counts, parked, attempts,
--       lane, what is settled and not confirmed of it, retry lane, what is settled and not confirmed of that
-- ARGV  1 former name  2 new name
-- Gives {'OK'}, also if that has happened before | {'TAKEN', key} (the new name has messages of its own there)
-- Whoever works under the former name is shut out by that: its group and its lanes are gone.
local stream, groups, counts, joins = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local former, name = ARGV[1], ARGV[2]
local BENCH, LONG_IDLE_MS, OWN = '-', 86400000, 11

-- Whether something waits in a key. A lane that has nothing on its way can be replaced.
local function holds(key)
  local kind = redis.call('TYPE', key)['ok']
  if kind == 'stream' then return redis.call('XLEN', key) > 0 end
  if kind == 'hash' then return redis.call('HEXISTS', key, 'open_seq') == 1 end
  return kind ~= 'none'
end

local wrong = wrong_type('hash', groups, counts, joins, KEYS[6], KEYS[7]) or wrong_type('stream', stream, KEYS[5]) or wrong_type('zset', KEYS[10])
if wrong then return wrong end
if redis.call('HEXISTS', groups, former) == 1 and redis.call('HEXISTS', groups, name) == 1 then return {'TAKEN', groups} end
local moving = {}
for i = 5, 4 + OWN do
  local books_of_none = (i == 8 or i == 9) and not holds(KEYS[8])  -- no dead letters: their books stay
  if redis.call('EXISTS', KEYS[i]) == 1 and not books_of_none then
    if holds(KEYS[i + OWN]) then return {'TAKEN', KEYS[i + OWN]} end
    moving[#moving + 1] = i
  end
end

-- The group itself cannot be renamed: another is made that stands where it stood, and is given what was pending.
local function rename_group(at, declared)
  local info = groups_of(at)[former]
  if info then
    create_group(at, name, info['last-delivered-id'], info['entries-read'])
    local lost, after, rows = 0, '-', nil
    repeat
      rows = redis.call('XPENDING', at, former, after, '+', CHUNK)
      for _, row in ipairs(rows) do
        local moved = redis.call('XCLAIM', at, name, BENCH, 0, row[1], 'IDLE', LONG_IDLE_MS, 'FORCE', 'JUSTID')
        if #moved == 0 then lost = lost + 1 end
        after = '(' .. row[1]
      end
    until #rows < CHUNK
    if lost > 0 then redis.call('HINCRBY', counts, name .. '.lost', lost) end
    redis.call('XGROUP', 'DESTROY', at, former)
  else
    create_group(at, name, resume_after(at, redis.call('HGET', declared, former)))
  end
  redis.call('HSET', declared, name, redis.call('HGET', declared, former))
  redis.call('HDEL', declared, former)
end

-- Counters of the former name become those of the new one.
local function move_count(books, what)
  local n = tonumber(redis.call('HGET', books, former .. what) or '0')
  redis.call('HDEL', books, former .. what)
  if n ~= 0 then redis.call('HINCRBY', books, name .. what, n) end
end

permit(counts)
local retry, retry_groups, retry_counts = KEYS[5], KEYS[6], KEYS[7]
if redis.call('HEXISTS', retry_groups, former) == 1 then
  rename_group(retry, retry_groups)
  for _, what in ipairs({'.joined', '.kept'}) do move_count(retry_counts, what) end
end
if redis.call('HEXISTS', groups, former) == 1 then
  rename_group(stream, groups)
  for _, what in ipairs({'.kept', '.dead'}) do move_count(counts, what) end
  local kept = tonumber(redis.call('HGET', retry_counts, name .. '.kept') or '0')
  join(stream, counts, name, redis.call('XLEN', retry) - kept + redis.call('ZCARD', KEYS[10]))
  local joined = joins and redis.call('HGET', joins, former)
  if joined then redis.call('HSET', joins, name, joined) end
  redis.call('HDEL', joins, former)
end
for _, i in ipairs(moving) do redis.call('RENAME', KEYS[i], KEYS[i + OWN]) end
for _, lane in ipairs({KEYS[4 + OWN + 8], KEYS[4 + OWN + 10]}) do redis.call('HDEL', lane, 'nonce', 'until_ms', 'leaving_ms') end
return {'OK'}
