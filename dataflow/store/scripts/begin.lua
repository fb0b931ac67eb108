-- Count an attempt just before an entry runs alone, so that a crash in it is remembered.
--
-- KEYS  1 stream  2 attempts  3 counts
-- ARGV  1 group  2 consumer  3 lane  4 id
-- Gives the number of attempts begun, this one included; 0 if the entry is no longer ours (nothing was counted).
local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[4], ARGV[4], 1)[1]
if not row or consumer_of(row[2]) ~= ARGV[2] then return 0 end
permit(KEYS[3])
return redis.call('HINCRBY', KEYS[2], ARGV[3] .. '/' .. ARGV[4], 1)
