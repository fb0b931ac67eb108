-- Apply an edge's frozen batch to its target streams: once, all or nothing.
--
-- KEYS  1 marker of the lineage  2 lane  3 retry lane (of the edge; there if its source is on this server too),
--       then per target: stream, counts
-- ARGV  1 epoch  2 seq  3 digest  4 writer  5 the source ids that are at the target once this batch is, packed
--       6 digest of the batch before it, '*' if not known  7 the hop that paths go on with, '' for none,
--       8 the messages, packed
-- Gives {'OK'} | {'APPLIED'} | {'FENCED', epoch} | {'CONFLICT', last seq, its digest, packed ids known ...}
--       | {'GAP', last seq} (the batch before is not there, or another one is)
--       | {'FULL', target number, depth, max_len} | {'WRONGTYPE', target number}
-- An error reply (nothing was written): a message that XADD would not take, a marker or counts key that is no hash.
-- At maxmemory a batch from another server is refused; one from this server is let through, for it leaves its source
-- stream when it settles.
-- A batch that was applied before is found before room is looked at: a full target must not hide it.
local marker, epoch, seq = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local KEEP_MS = 10000
local PRUNE = 100
local wrong = wrong_type('hash', marker)
if wrong then return wrong end
local known = redis.call('HMGET', marker, 'seq', 'epoch', 'digest', 'kept')
local last_seq, last_epoch = tonumber(known[1] or '0'), tonumber(known[2] or '0')
if epoch < last_epoch then return {'FENCED', last_epoch} end
if seq == last_seq and known[3] == ARGV[3] then return {'APPLIED'} end
if seq <= last_seq then
  local answer = {'CONFLICT', last_seq, known[3] or ''}
  for name, value in pairs(as_table(redis.call('HGETALL', marker))) do
    if name:sub(1, 4) == 'ids:' then answer[#answer + 1] = value end
  end
  return answer
end
local last_digest = known[3] or ''
local follows = ARGV[6] == last_digest or ARGV[6] == '*' or (last_seq > 0 and last_digest == '')
if seq > last_seq + 1 or not follows then return {'GAP', last_seq} end

local hop = ARGV[7] ~= '' and ARGV[7]
local runs, wanted = read_messages(ARGV[8])
if not runs then return wanted end
for _, run in ipairs(runs) do
  if hop and run.shape.parts[3] ~= '_path' then return redis.error_reply('ERR a message has no path that could go on') end
end
for target, n in pairs(wanted) do
  local stream, counts = KEYS[2 + 2 * target], KEYS[3 + 2 * target]
  if not is_stream(stream) then return {'WRONGTYPE', target} end
  wrong = wrong_type('hash', counts)
  if wrong then return wrong end
  local full = lacks_room(stream, counts, n, ARGV[4])
  if full then return {'FULL', target, full[1], full[2]} end
end

if redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then permit(marker) end
for _, run in ipairs(runs) do add_messages(KEYS[2 + 2 * run.target], run, hop) end
for target, n in pairs(wanted) do
  redis.call('HINCRBY', KEYS[3 + 2 * target], 'from.' .. ARGV[4], n)
end
-- Ids are kept for the last batch and for ten seconds: enough to reconcile with a source that lost its last writes.
local now, kept = now_ms(), tonumber(known[4] or ARGV[2])
for _ = 1, PRUNE do
  local placed_ms = kept < seq and redis.call('HGET', marker, 'at:' .. kept)
  if kept >= seq or (placed_ms and tonumber(placed_ms) >= now - KEEP_MS) then break end
  redis.call('HDEL', marker, 'at:' .. kept, 'ids:' .. kept)
  kept = kept + 1
end
redis.call('HSET', marker, 'seq', seq, 'epoch', epoch, 'digest', ARGV[3], 'kept', kept,
  'at:' .. seq, now, 'ids:' .. seq, ARGV[5])
return {'OK'}
