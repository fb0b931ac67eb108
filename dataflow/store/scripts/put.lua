-- Append messages to a stream that belongs to no flow: all of them or none. Nothing is ever cut off.
--
-- KEYS  1 stream  2 its counts and  3 its groups, if a flow had declared it
-- ARGV  1 most entries that the stream may hold, then per message: number of arguments, field, value, ...
-- Gives {'OK', number of messages} | {'FULL', depth} | {'OWNED'} | {'WRONGTYPE'}
-- An error reply (nothing was written): a message that XADD would not take.
if redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then return {'OWNED'} end
if not is_stream(KEYS[1]) then return {'WRONGTYPE'} end
local at, n = 2, 0
while at <= #ARGV do
  local parts = tonumber(ARGV[at])
  local wrong = unfit(parts)
  if wrong then return wrong end
  at, n = at + 1 + parts, n + 1
end
local depth = redis.call('XLEN', KEYS[1])
if depth + n > tonumber(ARGV[1]) then return {'FULL', depth} end

at = 2
while at <= #ARGV do
  local parts = tonumber(ARGV[at])
  redis.call('XADD', KEYS[1], '*', unpack(ARGV, at + 1, at + parts))
  at = at + 1 + parts
end
return {'OK', n}
