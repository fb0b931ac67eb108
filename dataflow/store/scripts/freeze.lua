-- Write a batch down before anything of it is sent; or, after a conflict at the target, write it down again under a
-- later sequence number with what the target already has marked to be skipped.
--
-- KEYS  1 lane
-- ARGV  1 epoch  2 nonce  3 lease (ms)  4 position that was read from  5 seq  6 digest  7 first id  8 last id
--       9 count  10 verdict  11 '' or the open seq that this replaces
--       12 digest of the batch before it at the target
-- Gives {'OK', frozen_ms} | {'FENCED'} | {'MOVED'} (another batch is open, or the position is another)
--       | {'LEAVING'} (nothing new is begun: the edge is being taken out or led elsewhere)
local lane = KEYS[1]
local state = redis.call('HMGET', lane, 'epoch', 'nonce', 'position', 'open_seq', 'open_count', 'leaving_ms')
if state[1] ~= ARGV[1] or state[2] ~= ARGV[2] then return {'FENCED'} end
if state[3] ~= ARGV[4] or (state[4] or '') ~= ARGV[11] then return {'MOVED'} end
local now = now_ms()
if ARGV[11] == '' and now < tonumber(state[6] or '0') then return {'LEAVING'} end

permit(lane)
redis.call('HSET', lane, 'open_seq', ARGV[5], 'open_digest', ARGV[6], 'open_first', ARGV[7], 'open_last', ARGV[8],
  'open_count', ARGV[9], 'open_verdict', ARGV[10], 'open_prev', ARGV[12], 'open_frozen_ms', now, 'until_ms', now + tonumber(ARGV[3]))
redis.call('HINCRBY', lane, 'frozen', tonumber(ARGV[9]) - tonumber(state[5] or '0'))
return {'OK', now}
