-- Look at a stream and its readers at one instant. Writes nothing.
--
-- KEYS  1 stream  2 groups  3 counts, then per group: retry stream, retry counts, parked, dead stream, dead counts
-- ARGV  1 '1': count what is undelivered, whatever it costs; '0': believe Redis' own lag where our counters say the
--       same, else count up to MOST entries  then per group: its name
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

-- How many entries a group has not been given (-1: too many to count), where `left` is what our counters leave. Redis'
-- lag is not believed alone: a server that was started again on its log may not know how many a group has read.
local function undelivered(stream, info, left)
  local after = info['last-delivered-id']
  if ARGV[1] == '1' then return count_after(stream, after) end
  if #redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', 1) == 0 then return 0 end
  if #redis.call('XRANGE', stream, '-', after, 'COUNT', 1) == 0 then return redis.call('XLEN', stream) end
  if info['lag'] and info['lag'] == left then return left end
  return count_after(stream, after, MOST) or -1
end

-- Of entries ever added, those that are not a group's to be given by the stream: not for it, finished or elsewhere.
local function passed(group, of, back, retry_length, n_parked)
  local sum = retry_length + n_parked - (back[group .. '.kept'] or 0) - (of[group .. '.kept'] or 0)
  for _, way in ipairs({'joined', 'handled', 'filtered', 'dead', 'released', 'lost'}) do
    sum = sum + (of[group .. '.' .. way] or 0)
  end
  return sum
end

local stream, groups = KEYS[1], KEYS[2]
local existing, book = groups_of(stream), books(stream, KEYS[3])
local counts, ever = as_table(book[4]), tonumber(book[3])
local answer = {book}
for i = 2, #ARGV do
  local group, at = ARGV[i], 3 + 5 * (i - 2)
  local retry, parked, back = KEYS[at + 1], KEYS[at + 3], books(KEYS[at + 1], KEYS[at + 2])
  local n_parked, due = redis.call('ZCARD', parked), redis.call('ZRANGE', parked, 0, 0, 'WITHSCORES')
  local main, again = {0, 0, 0, ''}, {0, 0, 0}
  local info = existing[group]
  if info then
    local left = ever and ever - info['pending'] - passed(group, counts, as_table(back[4]), back[2], n_parked)
    main = {1, undelivered(stream, info, left), info['pending'], info['last-delivered-id']}
  end
  info = groups_of(retry)[group]
  if info then again = {1, undelivered(retry, info, back[2] - info['pending']), info['pending']} end
  answer[i] = {
    redis.call('HGET', groups, group) or '', main[1], main[2], main[3], main[4], back, again[1], again[2], again[3],
    n_parked, due[2] or '', books(KEYS[at + 4], KEYS[at + 5]),
  }
end
return answer
