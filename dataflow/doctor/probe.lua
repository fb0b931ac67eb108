-- Does once what the scripts of a flow do, and tells what was refused.
--
-- KEYS  1 a stream, 2 a hash, 3 a sorted set: keys of the doctor's own, made and removed here
-- gives a list of "COMMAND: the server's error", empty if everything may be done; that memory is full is no refusal

local key, hash, zset, refused = KEYS[1], KEYS[2], KEYS[3], {}
local function try(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err and not string.find(answer.err, 'OOM', 1, true) then
    refused[#refused + 1] = (...) .. ': ' .. answer.err
  end
  return answer
end
redis.pcall('DEL', key, hash, zset)
local id = try('XADD', key, '*', 'probe', '1')
try('XGROUP', 'CREATE', key, 'probe', '0', 'MKSTREAM')
try('XREADGROUP', 'GROUP', 'probe', 'probe', 'COUNT', '1', 'STREAMS', key, '>')
if type(id) == 'string' then
  try('XCLAIM', key, 'probe', 'probe', '0', id, 'JUSTID')
  try('XACK', key, 'probe', id)
end
try('XAUTOCLAIM', key, 'probe', 'probe', '0', '0', 'COUNT', '1')
try('XPENDING', key, 'probe')
try('XINFO', 'GROUPS', key)
try('XRANGE', key, '-', '+', 'COUNT', '1')
try('XREVRANGE', key, '+', '-', 'COUNT', '1')
try('XLEN', key)
try('XTRIM', key, 'MINID', '=', '0-1')
try('XDEL', key, '0-1')
try('HSET', hash, 'n', '1')
try('HINCRBY', hash, 'n', '1')
try('HMGET', hash, 'n')
try('HGETALL', hash)
try('HDEL', hash, 'n')
try('ZADD', zset, '1', 'n')
try('ZRANGEBYSCORE', zset, '0', '1')
try('ZCARD', zset)
try('EXPIRE', key, '60')
try('EXISTS', key)
try('TYPE', key)
try('TIME')
try('DEL', key, hash, zset)
return refused
