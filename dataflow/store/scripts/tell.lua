-- Tell who left a hint how the run has ended, also at maxmemory. It is forgotten after a while.
--
-- KEYS  1 hints  2 the end of this run
-- ARGV  1 the end  2 how long it is remembered (ms)
-- Gives 'OK'
local bad = wrong_type('hash', KEYS[1]) or wrong_type('string', KEYS[2])
if bad then return bad end
permit(KEYS[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 'OK'
