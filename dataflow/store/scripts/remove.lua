-- Delete entries by hand. Of a stream with declared readers only by force: they are counted as removed nowhere then, so
-- that the audit tells of it.
--
-- KEYS  1 stream  2 its counts  3 its groups
-- ARGV  1 '1' by force  2.. entry ids, at most CHUNK
-- Gives {'OK', how many were there} | {'OWNED', reader, ...}
local stream, counts, groups = KEYS[1], KEYS[2], KEYS[3]
local bad = wrong_type('stream', stream) or wrong_type('hash', counts, groups)
if bad then return bad end
local readers = redis.call('HKEYS', groups)
if #readers > 0 and ARGV[1] ~= '1' then return {'OWNED', unpack(readers)} end
local removed = redis.call('XDEL', stream, unpack(ARGV, 2))
if #readers == 0 and redis.call('EXISTS', counts) == 1 then redis.call('HINCRBY', counts, 'removed', removed) end
return {'OK', removed}
