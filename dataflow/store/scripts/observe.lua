-- Look at a stream and its readers at one instant. Writes nothing.
--
-- KEYS  1 stream  2 groups  3 counts, then per group: retry stream, retry counts, parked, dead stream, dead counts
-- ARGV  1 '1': count what is undelivered, whatever it costs; '0': believe Redis' own lag where it knows one, else count
--       up to MOST entries  then per group: its name
-- Gives {books of the stream, then per group: {
--          frontier ('' if not declared), 1 if the group exists, undelivered (-1: too many to count), pending,
--          last delivered id,
--          books of its retry stream, 1 if the retry group exists, undelivered and pending there,
--          number parked, due time of the next (ms, '' if none), books of its dead letters}}
-- where books are {1 if the key exists, length, entries ever added ('' if Redis does not count them), flat counts}.
local MOST = 10000

local function books(stream, counts)
  local exists, ever = redis.call('EXISTS', stream), ''
  if exists == 1 then ever = as_table(redis.call('XINFO', 'STREAM', stream))['entries-added'] or '' end
  return {exists, redis.call('XLEN', stream), ever, redis.call('HGETALL', counts)}
end

-- Whether a group exists, what it has not been given, what it has and has not finished, where it stands.
local function progress(stream, existing, group)
  local info = existing[group]
  if not info then return 0, 0, 0, '' end
  local after = info['last-delivered-id']
  if ARGV[1] == '1' then return 1, count_after(stream, after), info['pending'], after end
  return 1, info['lag'] or count_after(stream, after, MOST) or -1, info['pending'], after
end

local stream, groups = KEYS[1], KEYS[2]
local existing = groups_of(stream)
local answer = {books(stream, KEYS[3])}
for i = 2, #ARGV do
  local group, at = ARGV[i], 3 + 5 * (i - 2)
  local retry, parked = KEYS[at + 1], KEYS[at + 3]
  local exists, undelivered, pending, last = progress(stream, existing, group)
  local back_exists, back_undelivered, back_pending = progress(retry, groups_of(retry), group)
  local due = redis.call('ZRANGE', parked, 0, 0, 'WITHSCORES')
  answer[i] = {
    redis.call('HGET', groups, group) or '', exists, undelivered, pending, last,
    books(retry, KEYS[at + 2]), back_exists, back_undelivered, back_pending,
    redis.call('ZCARD', parked), due[2] or '', books(KEYS[at + 4], KEYS[at + 5]),
  }
end
return answer
