-- Declare a stream: its room and its readers. What is declared already stays as it is; a reader whose group was lost
-- is made again where it stood, never at the end of the stream.
--
-- KEYS  1 stream  2 groups  3 counts  4 cycle  5 who applies
--       6 joins (only where it is told later where a reader began)
-- ARGV  1 max_len  2 '1' to make groups that are not declared yet, '0' to mend only
--       3 keys of all streams of the cycle that it lies on, between spaces ('': it lies on none)
--       4 workers and edges that write inside the cycle, likewise  5 '1' if an edge closes the cycle here
--       6 nonce of who applies, '' for one who does not, then per group: name, start | now
-- Gives {'OK', names that were mended ...} | {'WRONGTYPE'} | {'FENCED'} (someone else applies)
local stream, groups, counts, joins = KEYS[1], KEYS[2], KEYS[3], KEYS[6]
if fenced(KEYS[5], ARGV[6]) then return {'FENCED'} end
if not is_stream(stream) or wrong_type('hash', groups, counts, KEYS[4], joins) then return {'WRONGTYPE'} end

local existing = groups_of(stream)
local mended = {'OK'}
permit(counts)
redis.call('HSET', counts, 'max_len', ARGV[1])
if ARGV[3] == '' then
  redis.call('HDEL', counts, 'cycle')
  redis.call('DEL', KEYS[4])
else
  redis.call('HSET', counts, 'cycle', 1)
  redis.call('HSET', KEYS[4], 'streams', ARGV[3], 'steps', ARGV[4], 'closing', ARGV[5])
end
for i = 7, #ARGV, 2 do
  local group, start = ARGV[i], ARGV[i + 1]
  local frontier = redis.call('HGET', groups, group)
  if frontier and not existing[group] then
    redis.call('XGROUP', 'CREATE', stream, group, resume_after(stream, frontier), 'MKSTREAM')
    mended[#mended + 1] = group
  elseif not frontier and ARGV[2] == '1' then
    local all = added(stream, counts)
    if not existing[group] and start == 'now' then
      create_group(stream, group, '$', all)
    elseif not existing[group] then
      create_group(stream, group, '0-0', all - redis.call('XLEN', stream))
    end
    if joins then redis.call('HSET', joins, group, (existing[group] and 'found' or start) .. ' ' .. now_ms()) end
    local _, stands = standing(stream, group, groups_of(stream)[group]['last-delivered-id'])
    redis.call('HSET', groups, group, stands)
    join(stream, counts, group)
  end
end
return mended
