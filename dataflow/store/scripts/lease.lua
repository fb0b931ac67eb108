-- Take or keep the lease of an edge's lane and learn where the lane stands.
--
-- KEYS  1 lane  2 what is settled and not confirmed  3 declared groups of the stream (none: the edge reads no stream)
-- ARGV  1 nonce of the runner  2 lease (ms)  3 a fresh lineage, used if the lane has none  4 least epoch (0: any)
--       5 position to start from, used if the lane has none  6 nonce of a holder known to be dead, '' for none
--       7 name of the source stream  8 the place that remembers the edge's batches, '' for none
--       9 name of the edge
-- Gives {'HELD', ms left, nonce of the holder} | {'ELSEWHERE', stream} (the lane still belongs to another stream)
--       | {'UNDECLARED'} (the stream has no such reader; it may just have got another name)
--       | {'OTHER', place} (as the flow was applied, the edge leads elsewhere)
--       | {'OK', lineage, epoch, seq, position, pause reason,
--        id up to which refused rows may be buried however many they are, digest of the batch settled last ('*': not
--        known), batches settled and not confirmed, now (ms), ids buried before, and of the open batch, '' if none:
--        seq, digest, first, last, count, verdict, frozen_ms, digest of the one before it; and last
--        the time (ms) up to which messages were born that the target may have and the source may have forgotten,
--        and 1 if nothing new is to be begun: the edge is being taken out or led elsewhere}
-- Taking over raises the epoch, which shuts the former runner out of freeze, settle and (by handshake) the target.
-- A server that was started anew since the last lease may have lost its last writes: messages that it still holds, here
-- or further up the flow, may have come through here, been applied and settled without a trace.
local lane, nonce, least = KEYS[1], ARGV[1], tonumber(ARGV[4])
local now = now_ms()
local state = as_table(redis.call('HGETALL', lane))
local held_until = tonumber(state.until_ms or '0')
if state.stream and state.stream ~= ARGV[7] then return {'ELSEWHERE', state.stream} end
if KEYS[3] and redis.call('HEXISTS', KEYS[3], ARGV[9]) == 0 then return {'UNDECLARED'} end
if (state.at or ARGV[8]) ~= ARGV[8] then return {'OTHER', state.at} end
if state.nonce and state.nonce ~= nonce and state.nonce ~= ARGV[6] and held_until > now then
  return {'HELD', held_until - now, state.nonce}
end

local doubt_ms, run = tonumber(state.doubt_ms or '0'), redis.call('INFO', 'server'):match('run_id:(%w+)') or ''
if state.source_run ~= run then doubt_ms = now end

permit(lane)
local epoch = tonumber(state.epoch or '0')
if state.nonce ~= nonce or epoch < least then epoch = math.max(epoch + 1, least) end
if not state.lineage then
  state.lineage, state.seq, state.position = ARGV[3], '0', ARGV[5]
  redis.call('HSET', lane, 'lineage', state.lineage, 'seq', '0', 'position', state.position, 'stream', ARGV[7])
end
if state.source_run ~= run then redis.call('HSET', lane, 'source_run', run, 'doubt_ms', doubt_ms) end
if not state.at then redis.call('HSET', lane, 'at', ARGV[8]) end
redis.call('HSET', lane, 'nonce', nonce, 'epoch', epoch, 'until_ms', now + tonumber(ARGV[2]))
return {'OK', state.lineage, epoch, state.seq, state.position, state.paused or '', state.bury_to or '',
  state.digest or (state.seq == '0' and '' or '*'), redis.call('LLEN', KEYS[2]), now, state.buried or '',
  state.open_seq or '', state.open_digest or '', state.open_first or '', state.open_last or '',
  state.open_count or '', state.open_verdict or '', state.open_frozen_ms or '', state.open_prev or '*', doubt_ms,
  now < tonumber(state.leaving_ms or '0') and 1 or 0}
