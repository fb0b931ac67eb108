-- The target has acknowledged the frozen batch: move on. Refused rows go to the dead letters in the same step.
--
-- KEYS  1 lane  2 stream  3 groups  4 counts  5 tally (counts of the main stream)  6 dead stream  7 dead counts
--       8 what is settled and not confirmed
-- ARGV  1 epoch  2 nonce  3 lease (ms)  4 seq  5 digest  6 group  7 messages at the target  8 lane name (main | retry)
--       9 '1': the target is another server, which may still lose the batch: keep its entries until `confirm`
--       10 entries of the batch that were buried before, then per refused row: id, error
-- Gives {'OK', entries removed} | {'FENCED'} | {'OTHER'} (not the open batch) | {'FULL', depth, max_len} (dead letters)
local lane, stream, groups, counts, tally = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local dead, dead_counts = KEYS[6], KEYS[7]
local group = ARGV[6]
local state = redis.call('HMGET', lane, 'epoch', 'nonce', 'open_seq', 'open_digest', 'open_last', 'open_count',
  'seq', 'digest', 'position')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return {'FENCED'} end
if state[3] ~= ARGV[4] or state[4] ~= ARGV[5] then return {'OTHER'} end
local info = groups_of(stream)[group]
if not info then return redis.error_reply('NOGROUP ' .. group .. ' is missing on ' .. stream) end
local wrong = wrong_type('hash', groups, counts, tally) or wrong_type('list', KEYS[8])
if wrong then return wrong end
local last, count = state[5], tonumber(state[6])
local n_dead = (#ARGV - 10) / 2
local kept, handled = ARGV[9] == '1', count - n_dead - tonumber(ARGV[10])
if n_dead > 0 then
  if not is_stream(dead) then return redis.error_reply('WRONGTYPE ' .. dead .. ' is not a stream') end
  local full = lacks_room(dead, dead_counts, n_dead, group)
  if full then return {'FULL', full[1], full[2]} end
end

redis.call('HDEL', lane, '')
local refused = {}
for i = 11, #ARGV, 2 do
  refused[#refused + 1] = ARGV[i]
  redis.call('XADD', dead, '*', '_dead_reason', 'refused', '_dead_error', ARGV[i + 1], '_dead_attempts', '1',
    '_dead_lane', ARGV[8], '_dead_id', ARGV[i], unpack(as_kept(fields_of(stream, ARGV[i]))))
end
redis.call('HSET', lane, 'position', last, 'seq', ARGV[4], 'digest', ARGV[5], 'until_ms', now_ms() + tonumber(ARGV[3]))
redis.call('HDEL', lane, 'open_seq', 'open_digest', 'open_first', 'open_last', 'open_count', 'open_verdict',
  'open_frozen_ms', 'open_prev')
redis.call('HINCRBY', lane, 'settled', count)
redis.call('HINCRBY', tally, group .. '.handled', handled)
redis.call('HINCRBY', tally, group .. '.out', ARGV[7])
if n_dead > 0 then
  redis.call('HINCRBY', tally, group .. '.dead', n_dead)
  redis.call('HINCRBY', dead_counts, 'from.' .. group, n_dead)
end
if not kept then
  pass(stream, group, info, last, count)
  return {'OK', advance(stream, groups, counts, group)}
end
if redis.call('EXISTS', KEYS[8]) == 0 then
  redis.call('HSET', lane, 'sure_seq', state[7], 'sure_digest', state[8] or '', 'sure_position', state[9])
end
redis.call('RPUSH', KEYS[8], cmsgpack.pack({ARGV[4], ARGV[5], last, count, handled, ARGV[7], now_ms(), refused}))
keep(counts, group, count)
return {'OK', 0}
