-- What an edge's target on another server says it has: delete what it cannot lose any more; go back to what it has if
-- it has lost something.
--
-- KEYS  1 lane  2 stream  3 groups  4 counts  5 tally (counts of the main stream)  6 what is settled and not confirmed
-- ARGV  1 epoch  2 nonce  3 group  4 run id of the target  5 its last seq  6 its digest  7 a time (ms, of this server)
--       before the target was asked  8 how long a server needs to store what it was told (ms)
-- Gives {'OK', batches not confirmed} | {'BACK', entries to be read again} | {'BEHIND'} (it lacks what was confirmed)
--       | {'FENCED'}
-- A batch is confirmed when the process that has it now was there for so long after the batch was settled, and after we
-- first saw that process: what it has was written to its disk by then.
-- After a return some rows are in the dead letters already. They are noted as buried, and passed over.
local lane, stream, groups, counts, tally, settled = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local group, run, their_seq, their_digest = ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6]
local state = as_table(redis.call('HGETALL', lane))
if state.epoch ~= ARGV[1] or state.nonce ~= ARGV[2] then return {'FENCED'} end
local wrong = wrong_type('hash', groups, counts, tally) or wrong_type('list', settled)
if wrong then return wrong end
local batches = {}
for i, packed in ipairs(redis.call('LRANGE', settled, 0, -1)) do
  local seq, digest, last, count, handled, out, at_ms, refused = unpack(cmsgpack.unpack(packed))
  batches[i] = {seq = seq, digest = digest, last = last, count = count, handled = handled, out = out, at_ms = at_ms,
    refused = refused}
end
if #batches == 0 then return {'OK', 0} end
local info = groups_of(stream)[group]
if not info then return redis.error_reply('NOGROUP ' .. group .. ' is missing on ' .. stream) end

local function confirm()
  local now = now_ms()
  local seen_ms = tonumber(state.look_ms or '0')
  if state.look_run ~= run or seen_ms > now or batches[1].at_ms > now then  -- another process, or our clock was set back
    redis.call('HSET', lane, 'look_run', run, 'look_ms', now)
    for i, batch in ipairs(batches) do
      if batch.at_ms > now then
        redis.call('LSET', settled, i - 1, cmsgpack.pack({batch.seq, batch.digest, batch.last, batch.count,
          batch.handled, batch.out, now, batch.refused}))
      end
    end
    return {'OK', #batches}
  end
  local safe_ms, n, entries = ARGV[7] - ARGV[8], 0, 0
  while seen_ms <= safe_ms and n < #batches and batches[n + 1].at_ms <= safe_ms do
    n = n + 1
    entries = entries + batches[n].count
  end
  if n == 0 then return {'OK', #batches} end
  local sure = batches[n]
  permit(lane)
  redis.call('HSET', lane, 'sure_seq', sure.seq, 'sure_digest', sure.digest, 'sure_position', sure.last)
  redis.call('LTRIM', settled, n, -1)
  if state.buried_to and not before(sure.last, state.buried_to) then redis.call('HDEL', lane, 'buried', 'buried_to') end
  keep(counts, group, -entries)
  pass(stream, group, info, sure.last, entries)
  advance(stream, groups, counts, group)
  return {'OK', #batches - n}
end

-- Take back everything that was settled after the first n batches, and the open batch.
local function go_back(n, seq, digest, position)
  local count, handled, out, buried = 0, 0, 0, {state.buried}
  for i = n + 1, #batches do
    count, handled, out = count + batches[i].count, handled + batches[i].handled, out + batches[i].out
    for _, id in ipairs(batches[i].refused) do buried[#buried + 1] = id end
  end
  permit(lane)
  redis.call('HSET', lane, 'seq', seq, 'digest', digest, 'position', position)
  if #buried > 0 then
    redis.call('HSET', lane, 'buried', table.concat(buried, ' '), 'buried_to', state.buried_to or batches[#batches].last)
  end
  redis.call('HDEL', lane, 'open_seq', 'open_digest', 'open_first', 'open_last', 'open_count', 'open_verdict',
    'open_frozen_ms', 'open_prev')
  redis.call('HINCRBY', lane, 'frozen', -count - tonumber(state.open_count or '0'))
  redis.call('HINCRBY', lane, 'settled', -count)
  redis.call('HINCRBY', tally, group .. '.handled', -handled)
  redis.call('HINCRBY', tally, group .. '.out', -out)
  keep(counts, group, -count)
  if n == 0 then redis.call('DEL', settled) else redis.call('LTRIM', settled, 0, n - 1) end
  return {'BACK', count}
end

local our_seq, sure_seq = tonumber(state.seq), tonumber(state.sure_seq)
local adopted = their_seq > 0 and their_digest == ''
if their_seq > our_seq or (their_seq == our_seq and (adopted or their_digest == state.digest)) then return confirm() end
if their_seq == sure_seq and their_digest == state.sure_digest then
  return go_back(0, state.sure_seq, state.sure_digest, state.sure_position)
end
for i, batch in ipairs(batches) do
  if their_seq == tonumber(batch.seq) and their_digest == batch.digest then
    return go_back(i, batch.seq, batch.digest, batch.last)
  end
end
if their_seq <= sure_seq then return {'BEHIND'} end
-- It has something else there: a former runner woke up. The next batch takes a number that the target knows, so it is
-- refused as a conflict, and what the target has will be skipped.
return go_back(0, their_seq - 1, '', state.sure_position)
