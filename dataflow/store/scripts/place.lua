-- Apply an edge's frozen batch to its target streams: once, all or nothing.
--
-- KEYS  1 marker of the lineage, then per target: stream, counts
-- ARGV  1 epoch  2 seq  3 digest  4 writer  5 the batch's source ids, space between  6 number of messages,
--       then per message: target number (1-based), number of arguments, field, value, ...
-- Gives {'OK'} | {'APPLIED'} | {'FENCED', epoch} | {'CONFLICT', last seq, ids known ...} | {'GAP', last seq}
--       | {'FULL', target number, depth, max_len} | {'WRONGTYPE', target number}
-- A batch that was applied before is found before room is looked at: a full target must not hide it.
local marker, epoch, seq = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local KEEP_MS = 10000
local known = as_table(redis.call('HGETALL', marker))
local last_seq, last_epoch = tonumber(known.seq or '0'), tonumber(known.epoch or '0')
if epoch < last_epoch then return {'FENCED', last_epoch} end
if seq == last_seq and known.digest == ARGV[3] then return {'APPLIED'} end
if seq <= last_seq then
  local answer = {'CONFLICT', last_seq}
  for name, value in pairs(known) do
    if name:sub(1, 4) == 'ids:' then answer[#answer + 1] = value end
  end
  return answer
end
if seq > last_seq + 1 then return {'GAP', last_seq} end

local wanted, at = {}, 7
while at <= #ARGV do
  local target = tonumber(ARGV[at])
  wanted[target] = (wanted[target] or 0) + 1
  at = at + 2 + tonumber(ARGV[at + 1])
end
for target, n in pairs(wanted) do
  local stream, counts = KEYS[2 * target], KEYS[2 * target + 1]
  if not is_stream(stream) then return {'WRONGTYPE', target} end
  local full = lacks_room(stream, counts, n)
  if full then return {'FULL', target, full[1], full[2]} end
end

at = 7
while at <= #ARGV do
  local stream, n = KEYS[2 * tonumber(ARGV[at])], tonumber(ARGV[at + 1])
  redis.call('XADD', stream, '*', unpack(ARGV, at + 2, at + 1 + n))
  at = at + 2 + n
end
for target, n in pairs(wanted) do
  redis.call('HINCRBY', KEYS[2 * target + 1], 'from.' .. ARGV[4], n)
end
-- Ids are kept for the last batch and for ten seconds: enough to reconcile with a source that lost its last writes.
local now = now_ms()
for name, value in pairs(known) do
  if name:sub(1, 4) == 'ids:' and tonumber(value:match('^%d+')) < now - KEEP_MS then redis.call('HDEL', marker, name) end
end
redis.call('HSET', marker, 'seq', seq, 'epoch', epoch, 'digest', ARGV[3], 'ids:' .. seq, now .. ' ' .. ARGV[5])
return {'OK'}
