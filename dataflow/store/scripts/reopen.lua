-- Forget the open batch of an edge's lane, so that what is left of its entries is read again. For a person to decide,
-- when entries of a frozen batch were deleted by hand.
--
-- KEYS  1 lane  2 stream  3 tally (counts of the main stream)
-- ARGV  1 group
-- Gives the number of entries of the batch that are gone; they are counted as lost. 0: nothing was changed.
local lane, stream, tally = KEYS[1], KEYS[2], KEYS[3]
local state = redis.call('HMGET', lane, 'open_first', 'open_last', 'open_count', 'nonce')
if not state[1] then return 0 end
local count = tonumber(state[3])
local gone = count - #redis.call('XRANGE', stream, state[1], state[2], 'COUNT', count)
if gone == 0 then return 0 end

permit(lane)
redis.call('HDEL', lane, 'open_seq', 'open_digest', 'open_first', 'open_last', 'open_count', 'open_verdict',
  'open_frozen_ms', 'open_prev', 'nonce', 'until_ms')
redis.call('HINCRBY', lane, 'frozen', -count)
redis.call('HINCRBY', tally, ARGV[1] .. '.lost', gone)
return gone
