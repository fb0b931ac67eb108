-- Put a consumer's entries on the bench, where the next reader finds them at once, and remove the consumer with
-- all its names.
-- Attempts that were begun and will not be finished are taken back.
--
-- KEYS  1 stream  2 attempts  3 tally (counts of the main stream)
-- ARGV  1 group  2 consumer  3 lane, then ids whose begun attempt does not count
-- Gives the number of entries handed back. Entries that are gone from the stream are counted as lost.
local stream, attempts, tally, group, consumer, lane = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3]
local BENCH, LONG_IDLE_MS = '-', 86400000

local wrong = wrong_type('hash', attempts, tally)
if wrong then return wrong end
local handed, lost = 0, 0
permit(tally)
local names = names_of(stream, group, {consumer})
for _, name in ipairs(names) do
  repeat
    local rows = redis.call('XPENDING', stream, group, '-', '+', CHUNK, name)
    for _, row in ipairs(rows) do
      -- Of an entry that is gone from the stream Redis 7 drops the claim and answers nothing; 6.2 moves it.
      local moved = redis.call('XCLAIM', stream, group, BENCH, 0, row[1], 'IDLE', LONG_IDLE_MS, 'JUSTID')
      if #moved == 0 then lost = lost + 1 else handed = handed + 1 end
    end
  until #rows < CHUNK
end
if lost > 0 then redis.call('HINCRBY', tally, group .. '.lost', lost) end
for i = 4, #ARGV do
  local mark = lane .. '/' .. ARGV[i]
  if (tonumber(redis.call('HGET', attempts, mark)) or 0) > 0 then
    if redis.call('HINCRBY', attempts, mark, -1) <= 0 then redis.call('HDEL', attempts, mark) end
  end
end
for _, name in ipairs(names) do remove_if_idle(stream, group, name) end
return handed
