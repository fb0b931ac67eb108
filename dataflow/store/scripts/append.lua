-- Append messages to one or more streams: all of them or none.
--
-- KEYS  1 idempotency record, then per stream: stream, counts
-- ARGV  1 writer  2 '1' if the record counts  3 record ttl (s)  4 body digest  5 request id  6 number of messages
--       7 '' if the messages are complete; else the path that all of them get as their second field,
--       8 the messages, packed; their targets are the streams
-- Gives {'OK'} | {'SEEN', request id, count} | {'REUSED'} | {'FULL', stream number, depth, max_len} | {'WRONGTYPE', n}
-- An error reply (nothing was written): a message that XADD would not take, or a counts key that is no hash.
local writer, recorded = ARGV[1], ARGV[2] == '1'

if recorded then
  local record = redis.call('HMGET', KEYS[1], 'digest', 'request', 'count')
  if record[1] then
    if record[1] ~= ARGV[4] then return {'REUSED'} end
    return {'SEEN', record[2], tonumber(record[3])}
  end
end

local runs, wanted = read_messages(ARGV[8], ARGV[7])
if not runs then return wanted end
for number, n in pairs(wanted) do
  local stream, counts = KEYS[2 * number], KEYS[2 * number + 1]
  if not is_stream(stream) then return {'WRONGTYPE', number} end
  local full = lacks_room(stream, counts, n, writer)
  if full then return {'FULL', number, full[1], full[2]} end
end

for _, run in ipairs(runs) do add_messages(KEYS[2 * run.target], run) end
for number, n in pairs(wanted) do
  redis.call('HINCRBY', KEYS[2 * number + 1], 'from.' .. writer, n)
end
if recorded then
  redis.call('HSET', KEYS[1], 'digest', ARGV[4], 'request', ARGV[5], 'count', ARGV[6])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return {'OK'}
