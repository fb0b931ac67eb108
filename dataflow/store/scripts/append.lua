-- Append messages to one or more streams: all of them or none.
--
-- KEYS  1 idempotency record, then per stream: stream, counts
-- ARGV  1 writer  2 '1' if the record counts  3 record ttl (s)  4 body digest  5 request id  6 number of messages
--       7 '' if the messages are complete; else the path that all of them get, with the ids <request id>-<0, 1 ...>,
--       then the messages as read_messages takes them; their targets are the streams
-- Gives {'OK'} | {'SEEN', request id, count} | {'REUSED'} | {'FULL', stream number, depth, max_len} | {'WRONGTYPE', n}
-- An error reply (nothing was written): a message that XADD would not take, or a counts key that is no hash.
local writer, recorded, stamped = ARGV[1], ARGV[2] == '1', ARGV[7] ~= ''

if recorded then
  local record = redis.call('HMGET', KEYS[1], 'digest', 'request', 'count')
  if record[1] then
    if record[1] ~= ARGV[4] then return {'REUSED'} end
    return {'SEEN', record[2], tonumber(record[3])}
  end
end

local count, targets, shapes, firsts = read_messages(8, stamped and 2 or 0)
if not count then return targets end
local wanted = {}
for _, number in ipairs(targets) do wanted[number] = (wanted[number] or 0) + 1 end
for number, n in pairs(wanted) do
  local stream, counts = KEYS[2 * number], KEYS[2 * number + 1]
  if not is_stream(stream) then return {'WRONGTYPE', number} end
  local full = lacks_room(stream, counts, n, writer)
  if full then return {'FULL', number, full[1], full[2]} end
end

for i = 1, count do
  local shape = shapes[i]
  if stamped then
    local parts = shape.parts
    parts[1], parts[2], parts[3], parts[4] = '_mid', ARGV[5] .. '-' .. (i - 1), '_path', ARGV[7]
  end
  add_message(KEYS[2 * targets[i]], shape, firsts[i])
end
for number, n in pairs(wanted) do
  redis.call('HINCRBY', KEYS[2 * number + 1], 'from.' .. writer, n)
end
if recorded then
  redis.call('HSET', KEYS[1], 'digest', ARGV[4], 'request', ARGV[5], 'count', ARGV[6])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return {'OK'}
