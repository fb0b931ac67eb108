-- Does once what the scripts of a flow do, and tells what was refused.
--
-- KEYS  1 a stream, 2 a hash, 3 a sorted set, 4 a list: keys of the doctor's own, made and removed here
-- gives a list of "COMMAND: the server's error", empty if everything may be done; that memory is full is no refusal

local key, hash, zset, list, refused = KEYS[1], KEYS[2], KEYS[3], KEYS[4], {}
local function try(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err and not string.find(answer.err, 'OOM', 1, true) then
    refused[#refused + 1] = (...) .. ': ' .. answer.err
  end
  return answer
end
redis.pcall('DEL', key, hash, zset, list)
local id = try('XADD', key, '*', 'probe', '1')
try('XGROUP', 'CREATE', key, 'probe', '0', 'MKSTREAM')
try('XREADGROUP', 'GROUP', 'probe', 'probe', 'COUNT', '1', 'STREAMS', key, '>')
if type(id) == 'string' then
  try('XCLAIM', key, 'probe', 'probe', '0', id, 'JUSTID')
  try('XACK', key, 'probe', id)
end
try('XGROUP', 'SETID', key, 'probe', '0')
try('XPENDING', key, 'probe')
try('XINFO', 'GROUPS', key)
try('XINFO', 'STREAM', key)
try('XINFO', 'CONSUMERS', key, 'probe')
try('XGROUP', 'DELCONSUMER', key, 'probe', 'probe')
try('XGROUP', 'DESTROY', key, 'probe')
try('XRANGE', key, '-', '+', 'COUNT', '1')
try('XREVRANGE', key, '+', '-', 'COUNT', '1')
try('XLEN', key)
try('XTRIM', key, 'MINID', '=', '0-1')
try('XDEL', key, '0-1')
try('HSET', hash, 'n', '1')
try('HINCRBY', hash, 'n', '1')
try('HSETNX', hash, 'n', '1')
try('HGET', hash, 'n')
try('HMGET', hash, 'n')
try('HEXISTS', hash, 'n')
try('HKEYS', hash)
try('HLEN', hash)
try('HGETALL', hash)
try('RENAME', hash, hash)
try('HDEL', hash, 'n')
try('ZADD', zset, '1', 'n')
try('ZRANGEBYSCORE', zset, '0', '1')
try('ZRANGE', zset, '0', '1')
try('ZCARD', zset)
try('ZREVRANGE', zset, '0', '1')
try('ZREM', zset, 'n')
try('LPUSH', list, '1')
try('RPUSH', list, '1')
try('LSET', list, '0', '1')
try('LLEN', list)
try('LINDEX', list, '0')
try('LRANGE', list, '0', '1')
try('LTRIM', list, '0', '1')
try('SET', list, '1', 'PX', '60000')
try('EXPIRE', key, '60')
try('PEXPIRE', key, '60000')
try('EXISTS', key)
try('TYPE', key)
try('TIME')
try('INFO', 'server')
try('DEL', key, hash, zset, list)
return refused
