-- Note what became of a run that was asked for. The first note of a kind stays; a run that is not known gets none.
--
-- KEYS  1 records  2 ages (not used)
-- ARGV  1 id of the run  2 'begun' or 'ended'  3 the note
-- Gives 1 if the run is known, else 0
local records, run = KEYS[1], ARGV[1]
local bad = wrong_type('hash', records)
if bad then return bad end
if redis.call('HEXISTS', records, run) == 0 then return 0 end
permit(records)
redis.call('HSETNX', records, run .. ':' .. ARGV[2], ARGV[3])
return 1
